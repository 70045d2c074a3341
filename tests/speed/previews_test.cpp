#include <fmt/core.h>
#include <gtest/gtest.h>

#include "mos/session/paint.h"
#include "mos/session/preview.h"
#include "mos/session/session.h"
#include "tests/speed/cpu_seconds.h"
#include "tests/support/temp_dir.h"

namespace mos::session {
using test::cpu_seconds;

namespace {

struct Costs {
  double all = 0.0, previews = 0.0;  ///< CPU seconds.
};

/// Of a guided picture of this side by the embedded base, with previews as often as they come.
Costs measured(Session& session, const std::filesystem::path& picture, std::int64_t side) {
  region::Scene scene;
  scene.prompt = "a photo of a cat";
  scene.canvas = region::Canvas{side, side};
  region::SampleOptions options;
  options.height = options.width = side;
  options.steps = 30;
  Costs costs;
  const Preview preview(1, session.model, {});
  const auto shown = preview.of_batch({}, picture, record_of(session, scene, options));
  const double start = cpu_seconds();
  region::sample_pictures(session.model, session.tokens, scene, options, {},
                          [&](const diffusion::DenoiseStep& step) {
                            const double before = cpu_seconds();
                            shown(step);
                            costs.previews += cpu_seconds() - before;
                          });
  costs.all = cpu_seconds() - start;
  return costs;
}

TEST(PreviewCost, OfEveryStepIsAHundredthOfThem) {
  const TempDir folder;
  auto session = open_session({.base = MOS_SOURCE_DIR "/base"});
  measured(session, folder / "a.png", 128);  // what is done once for a process
  for (const std::int64_t side : {128, 256}) {
    const auto costs = measured(session, folder / "a.png", side);
    fmt::print("{} x {} pixels: previews took {:.2f} % of {:.2f} CPU seconds\n", side, side,
               100 * costs.previews / costs.all, costs.all);
    EXPECT_LE(costs.previews, 0.01 * costs.all);
  }
}

}  // namespace
}  // namespace mos::session
