#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "mos/base/counts.h"
#include "mos/base/json.h"
#include "mos/base/progress.h"
#include "mos/region/sample.h"

/// The main job end to end: tune concepts, fuse them in several ways, paint one regional scene with
/// each, and measure how much of each identity is left.
namespace mos::demo {

struct DemoOptions {
  std::string base = "base";               ///< Diffusers directory with its judge.
  std::string concepts = "base/concepts";  ///< Folders that `mos tune` reads.
  std::string out = "out/demo";
  std::string scene = "examples/demo-scene.json";
  std::vector<std::string> names = {"wizard", "teddy", "racer"};
  std::vector<std::string> methods = {"weight", "gradient"};  ///< Of fusion.
  std::int64_t pictures = 8;    ///< For each concept and model, to measure alignment.
  std::int64_t scenes = 4;      ///< Regional pictures for each fused model.
  std::int64_t steps = 30;      ///< Denoising steps of every picture.
  double guidance_scale = 0.0;  ///< 0: as the base model says.
  std::uint64_t seed = 7;
  std::int64_t tune_steps = 0;  ///< 0: what the base model's folder recommends.
};

template <class Visitor>
void describe(Visitor& visit, DemoOptions& o) {
  visit("base", o.base, "base model, a diffusers directory with its judge in judge/");
  visit("concepts", o.concepts, "folder of concept folders");
  visit("out", o.out, "where everything goes");
  visit("scene", o.scene, "region file; \"{name}\" in a prompt stands for that concept's words");
  visit("names", o.names, "the concepts to tune");
  visit("methods", o.methods, "ways to fuse them, see mos fuse");
  visit("pictures", o.pictures, "pictures for each concept and model that are measured",
        count_of(1, kMostAtATime));
  visit("scenes", o.scenes, "regional pictures for each fused model", count_of(1, kMostAtATime));
  visit("steps", o.steps, "denoising steps", count_of(1, kMostDenoisingSteps));
  visit("guidance_scale", o.guidance_scale, "classifier-free guidance (0: as the base model says)",
        between(0, 100));
  visit("seed", o.seed, "of every random draw");
  visit("tune_steps", o.tune_steps, "steps of tuning (0: the base model's recommendation)",
        count_of(0, kMostSteps));
}

/// Image alignment of one concept: with the class word on the base model, tuned alone, and in each
/// fused model, by method.
struct ConceptResult {
  std::string name;
  double lower = 0.0, single = 0.0;
  std::map<std::string, double> fused;
};

/// Bleeding margin of one region in each fused model, by method.
struct RegionResult {
  std::string name;
  std::map<std::string, double> margin;
};

struct DemoReport {
  std::vector<std::string> methods;
  std::vector<ConceptResult> concepts;
  std::vector<RegionResult> regions;
  std::map<std::string, double> seconds;  ///< Wall time of each stage.
  Json options;

  Json to_json() const;
};

/// Runs everything and writes index.html, PNGs, concept files and report.json below options.out.
/// Throws mos::Error as the three commands do.
DemoReport run_demo(const DemoOptions& options, const ProgressCallback& progress,
                    const CancelToken* cancel);

/// The HTML page that shows `report` beside the pictures that run_demo wrote.
std::string report_page(const DemoReport& report);

}  // namespace mos::demo
