#include "mos/session/paint.h"

#include <gtest/gtest.h>

#include "mos/base/file.h"
#include "mos/nn/linear.h"
#include "mos/session/rerun.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_model.h"

namespace mos::session {
namespace {

/// A session of the tiny model, whose text encoder counts what it reads.
struct Studio {
  Studio() {
    for (const auto& module : session.model.towers[0].encoder->modules()) {
      auto layer = std::dynamic_pointer_cast<nn::LoraLayer>(module);
      if (!layer) continue;
      layer->input_observer = [this](const torch::Tensor& input) { texts += input.size(0); };
      break;  // any of its layers sees every text
    }
    options.steps = 2;
    options.height = options.width = 16;
    options.count = 3;
    scene.canvas = region::Canvas{16, 16};
  }

  void paint_all() {
    texts = 0;
    paint(session, record_of(session, scene, options), {}, /*at_a_time=*/1, {});
  }

  Session session{.model = tiny::model(), .tokens = concepts::ConceptTokens(2)};
  region::Scene scene;
  region::SampleOptions options;
  std::int64_t texts = 0;
};

TEST(Paint, PicturesOfOneSceneShareTheirTexts) {
  Studio studio;
  studio.scene.prompt = "a cat";
  studio.paint_all();
  EXPECT_EQ(studio.texts, 2);  // with the empty negative one
}

TEST(Paint, ChoicesAreEncodedForEachPictureThatHasOthers) {
  Studio studio;
  studio.scene.prompt = "{a|b|c|d|e|f|g|h}";
  studio.paint_all();
  EXPECT_GT(studio.texts, 2);
  EXPECT_LE(studio.texts, 6);
}

TEST(Paint, ChoicesOfRootPromptsAreDrawnForEachPicture) {
  Studio studio;
  studio.scene.prompt = "cat";
  studio.scene.root_prompt = "{a|b|c|d|e|f|g|h}";
  studio.paint_all();
  EXPECT_GT(studio.texts, 2);
}

TEST(Paint, MarksBeforeOrAcrossPromptsAreRecordedWithThem) {
  const TempDir folder;
  const auto base = (folder / "model").string();
  tiny::model().save(base);
  const auto picture = folder / "a.png";
  region::SampleOptions options;
  options.steps = 2;
  options.height = options.width = 16;
  // A weight, and two halves that fill more than one chunk of ten tokens together.
  for (const auto& [root, root_negative] :
       {std::pair{"", "(cat:1.4)"}, {"(cat:1.4)", ""}, {"a b c d e f", ""}}) {
    region::Scene scene;
    scene.prompt = "g h i j k l";
    scene.root_prompt = root;
    scene.root_negative_prompt = root_negative;
    scene.canvas = region::Canvas{16, 16};
    auto session = open_session({.base = base});
    const auto keep = [&](const torch::Tensor& pixels, const PictureRecord& record) {
      write_picture(picture, pixels, record);
    };
    paint(session, record_of(session, scene, options), {}, /*at_a_time=*/1, {.picture = keep});
    const auto record = read_record(picture);
    EXPECT_TRUE(record.has_syntax) << root << root_negative;
    EXPECT_TRUE(picture_bytes(repaint(record, {}, {}, {}), record) == read_text_file(picture))
        << root << root_negative;
  }
}

}  // namespace
}  // namespace mos::session
