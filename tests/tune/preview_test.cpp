#include "mos/tune/preview.h"

#include <gmock/gmock.h>

#include <limits>

#include "mos/base/file.h"
#include "tests/support/temp_dir.h"

namespace mos::tune {
namespace {

using ::testing::UnorderedElementsAre;

TuneOptions options_of(std::int64_t steps, std::int64_t every) {
  TuneOptions options;
  options.optimiser.steps = steps;
  options.run.preview_every = every;
  options.run.preview_pictures = 1;
  options.run.preview_prompts = {"a", "b"};
  return options;
}

TEST(PreviewPaths, AreTheFirstAndThoseWhoseNamesAreTaken) {
  const TempDir folder;
  for (const char* name :
       {"step-000004-1.png", "step-000004-2.png", "step-000004-3.png", "step-000003-1.png",
        "step-000009-1.png", "step-000011-1.png", "step-4-1.png", "step-000004-01.png", "step-.png",
        "step--00004-1.png", "step-000004-.png", "step-000004-1.jpg", "photo.png"}) {
    write_text_file(folder / name, "");
  }
  EXPECT_THAT(preview_paths(folder.path(), options_of(9, 2)),
              UnorderedElementsAre(folder / "step-000002-1.png", folder / "step-000004-1.png",
                                   folder / "step-000004-2.png", folder / "step-000009-1.png"));
  EXPECT_THAT(preview_paths(folder / "absent", options_of(9, 0)),
              UnorderedElementsAre(folder / "absent" / "step-000009-1.png"));
}

TEST(PreviewRows, AreThoseOfEveryPromptAndScaleEachTimeAndAtTheEnd) {
  auto options = options_of(9, 2);  // after 2, 4, 6, 8 and 9 steps
  options.run.preview_scales = {0.0, 0.7, 1.0};
  EXPECT_EQ(preview_rows(options), 5 * 2 * 3);
  options.optimiser.steps = 8;
  EXPECT_EQ(preview_rows(options), 4 * 2 * 3);
  options.run.preview_every = 0;
  EXPECT_EQ(preview_rows(options), 2 * 3);
  options.run.preview_pictures = 0;
  EXPECT_EQ(preview_rows(options), 0);
}

TEST(PreviewPaths, OfAnEndlessRunAreFew) {
  const TempDir folder;
  EXPECT_EQ(preview_paths(folder.path(), options_of(std::numeric_limits<std::int64_t>::max(), 1)),
            std::vector{folder / "step-000001-1.png"});
}

}  // namespace
}  // namespace mos::tune
