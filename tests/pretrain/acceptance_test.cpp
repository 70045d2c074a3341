#include "mos/pretrain/acceptance.h"

#include <gmock/gmock.h>

#include "mos/base/file.h"
#include "tests/support/temp_dir.h"

namespace mos::pretrain {
namespace {

/// What `base`/acceptance.json says, "NAME DEVICE" for each figure.
std::vector<std::string> figures_of(const TempDir& base) {
  std::vector<std::string> figures;
  const auto report = read_json_file(base / "acceptance.json");
  for (const auto& figure : report.at("figures")) {
    figures.push_back(figure.at("name").get<std::string>() + " " +
                      figure.at("device").get<std::string>());
  }
  return figures;
}

TEST(WriteAcceptance, PartsMeasuredAloneTakeThePlacesOfTheirFormerFigures) {
  const TempDir base;
  write_acceptance(base.path(), {.device = "cuda"},
                   {{"sharpness", 0.8}, {"sketch adapter (0.4 without)", 0.7}});
  write_acceptance(base.path(), {.parts = {"adapters"}}, {{"sketch adapter (0.5 without)", 0.7}});
  EXPECT_THAT(figures_of(base),
              testing::ElementsAre("sharpness cuda", "sketch adapter (0.5 without) cpu"));
}

TEST(WriteAcceptance, AMeasurementOfEverythingKeepsNothing) {
  const TempDir base;
  write_acceptance(base.path(), {}, {{"sharpness", 0.8}, {"of old", 0.7}});
  write_acceptance(base.path(), {}, {{"sharpness", 0.9}});
  EXPECT_THAT(figures_of(base), testing::ElementsAre("sharpness cpu"));
}

TEST(WriteAcceptance, FiguresOfAnotherCheckpointAreNotKept) {
  const TempDir base;
  write_text_file(base / "acceptance.json",
                  R"({"unet_steps": 7, "figures": [{"name": "of old", "device": "cpu"}]})");
  write_acceptance(base.path(), {.parts = {"fidelity"}}, {{"sharpness", 0.9}});
  EXPECT_THAT(figures_of(base), testing::ElementsAre("sharpness cpu"));
}

}  // namespace
}  // namespace mos::pretrain
