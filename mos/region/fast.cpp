#include "mos/region/fast.h"

#include <fmt/core.h>

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "mos/base/error.h"
#include "mos/base/text_distance.h"

namespace mos::region {

const std::vector<FastKind>& fast_kinds() {
  static const std::vector<FastKind> kinds = {
      {"lcm", "lcm", "", 4, "latent consistency (LCM-LoRA)"},
      {"hyper", "ddim", "trailing", 8, "Hyper-SD"},
      {"lightning", "euler", "trailing", 4, "SDXL-Lightning and its kin"},
      {"tcd", "tcd", "", 4, "trajectory consistency (TCD)"},
  };
  return kinds;
}

const FastKind& find_fast_kind(const std::string& name, const std::vector<std::string>& files) {
  std::vector<std::string> names = {"auto"};
  for (const auto& kind : fast_kinds()) {
    if (name == kind.name) return kind;
    names.emplace_back(kind.name);
  }
  if (name != "auto") {
    throw Error(ErrorKind::kUsage,
                fmt::format("--fast is \"{}\", expected auto, lcm, hyper, lightning or tcd{}", name,
                            did_you_mean(name, names)));
  }
  for (const auto& file : files) {
    auto plain = std::filesystem::path(file).filename().string();
    std::transform(plain.begin(), plain.end(), plain.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    for (const auto& kind : fast_kinds()) {
      if (plain.find(kind.name) != plain.npos) return kind;
    }
  }
  throw Error(ErrorKind::kUsage,
              "--fast auto looks for lcm, hyper, lightning or tcd in the names of --concept files "
              "and none has it: say --fast lcm, for example");
}

void use_fast_kind(const FastKind& kind, SampleOptions& options) {
  options.scheduler = kind.scheduler;
  options.steps = kind.steps;
  options.guidance_scale = 1.0;
  options.sampler.spacing = kind.spacing;
}

void check_fast_scheduler(const FastKind& kind, const std::string& scheduler) {
  const auto found = diffusion::find_scheduler(scheduler);
  const std::string name = found ? found->entry->name : "";
  if (!name.ends_with("sde")) return;
  throw Error(ErrorKind::kUsage,
              fmt::format("--scheduler {} adds noise that the few steps of --fast {} cannot take "
                          "away again: leave it out, or take {}",
                          scheduler, kind.name, kind.scheduler));
}

}  // namespace mos::region
