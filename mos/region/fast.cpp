#include "mos/region/fast.h"

#include <fmt/core.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <string_view>

#include "mos/base/error.h"
#include "mos/base/text.h"
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

namespace {

std::string plain_name(const std::string& file) {
  return lower_ascii(std::filesystem::path(file).filename().string());
}

bool says(const std::string& plain, std::string_view word) {
  return plain.find(word) != plain.npos;
}

/// The number before "step" in a file's name, or 0.
std::int64_t named_steps(const std::string& plain) {
  constexpr std::int64_t kMostOfFew = 50;
  const auto word = plain.find("step");
  if (word == plain.npos) return 0;
  auto begin = word;
  while (begin > 0 && std::isdigit(static_cast<unsigned char>(plain[begin - 1])) != 0) --begin;
  const auto number = number_in<std::int64_t>(plain.substr(begin, word - begin));
  return number && *number <= kMostOfFew ? *number : 0;
}

/// What the name of a file of the kind says beside that.
FastKind refined(FastKind kind, const std::string& plain) {
  if (const auto steps = named_steps(plain); steps > 0) kind.steps = steps;
  kind.guided = says(plain, "cfg");
  const bool is_single_hyper = std::string_view(kind.name) == "hyper" && kind.steps == 1;
  if (is_single_hyper) kind.scheduler = "tcd";  // its authors' advice
  return kind;
}

}  // namespace

FastKind find_fast_kind(const std::string& name, const std::vector<std::string>& files) {
  std::vector<std::string> names = {"auto"};
  for (const auto& kind : fast_kinds()) names.emplace_back(kind.name);
  if (std::find(names.begin(), names.end(), name) == names.end()) {
    throw Error(ErrorKind::kUsage,
                fmt::format("--fast is \"{}\", expected auto, lcm, hyper, lightning or tcd{}", name,
                            did_you_mean(name, names)));
  }
  for (const auto& file : files) {
    const auto plain = plain_name(file);
    for (const auto& kind : fast_kinds()) {
      if ((name == "auto" || name == kind.name) && says(plain, kind.name)) {
        return refined(kind, plain);
      }
    }
  }
  for (const auto& kind : fast_kinds()) {
    if (name == kind.name) return kind;
  }
  throw Error(ErrorKind::kUsage,
              "--fast auto looks for lcm, hyper, lightning or tcd in the names of --concept files "
              "and none has it: say --fast lcm, for example");
}

void use_fast_kind(const FastKind& kind, SampleOptions& options) {
  options.scheduler = kind.scheduler;
  options.steps = kind.steps;
  if (!kind.guided) options.guidance_scale = 1.0;
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
