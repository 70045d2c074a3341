#include "mos/session/preview.h"

#include <gtest/gtest.h>

#include "mos/io/image.h"
#include "mos/session/paint.h"
#include "mos/session/session.h"
#include "tests/support/temp_dir.h"

namespace mos::session {
namespace {

TEST(Preview, IsHalfThePictureBesideItUntilTheLastStep) {
  constexpr std::int64_t kSide = 64;
  const TempDir folder;
  auto session = open_session({.base = MOS_SOURCE_DIR "/base"});
  region::Scene scene;
  scene.prompt = "a photo of a cat";
  scene.canvas = region::Canvas{kSide, kSide};
  region::SampleOptions options;
  options.height = options.width = kSide;
  options.steps = 4;
  int count = 0;
  const auto picture = folder / "a.png";
  const Preview preview(1, session.model, [&](const std::filesystem::path& path) {
    EXPECT_EQ(path, Preview::path_of(picture));
    EXPECT_EQ(io::read_image(path).pixels.size(0), kSide / 2);
    ++count;
  });
  region::sample_pictures(session.model, session.tokens, scene, options, {},
                          preview.of_batch({}, picture, record_of(session, scene, options)));
  EXPECT_GE(count, 1);  // the first is due at once, the others where they cost little
  EXPECT_FALSE(std::filesystem::exists(Preview::path_of(picture)));
}

}  // namespace
}  // namespace mos::session
