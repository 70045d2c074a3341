#include "mos/session/paint.h"

#include <gtest/gtest.h>

#include "mos/nn/linear.h"
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

}  // namespace
}  // namespace mos::session
