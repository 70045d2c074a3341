#include <fmt/core.h>

#include <algorithm>

#include "mos/study/parts.h"

/// Figure 6b and pictures of several concepts: the same places and seeds by every way to keep the
/// concepts apart.
namespace mos::study {
namespace {

using region::Compose;

/// One way; a further sampler is a row here.
struct Way {
  std::string name;
  Merging merging;
  Compose compose = Compose::kMerged;  ///< Anything else: nothing is merged.
  bool directly = false;
  bool isolate = false;
  double base_ratio = 0.0, region_end = 1.0;
};

std::vector<Way> ways(const Ground& ground) {
  const auto& ours = ground.options.method;
  const Merging gradient = {ours, "gradient"};
  std::vector<Way> all = {
      {"ED-LoRA, gradient fusion", gradient},
      {"ED-LoRA, weight fusion", {ours, "weight"}},
      {"own text", gradient, Compose::kText},
      {"own layers", gradient, Compose::kLayers},
      {"own text and layers", gradient, Compose::kOwn},
      {.name = "prompt alone, gradient fusion", .merging = gradient, .directly = true},
  };
  if (ground.options.quick) return all;
  const std::vector<Way> more = {
      {"LoRA, weight fusion", {"lora", "weight"}},
      {"P+, words together", {"p_plus", "weight"}},
      {"Custom Diffusion, constrained merge", {"custom_diffusion", "custom_diffusion"}},
      {.name = "LoRA switch, prompt alone",
       .merging = gradient,
       .compose = Compose::kSwitch,
       .directly = true},
      {.name = "self-attention isolated", .merging = gradient, .isolate = true},
      {.name = "base ratio 0.2", .merging = gradient, .base_ratio = 0.2},
      {.name = "regions in the first 0.4 of the steps", .merging = gradient, .region_end = 0.4},
  };
  all.insert(all.end(), more.begin(), more.end());
  const auto merges = merges_for(ours);
  if (std::ranges::find(merges, "distill") != merges.end()) {
    all.push_back({"ED-LoRA, distilled", {ours, "distill"}});
  }
  return all;
}

Row row_of(const Ground& ground, const Way& way, std::size_t count) {
  Row row{.name = way.name};
  for (const auto& company : companies(ground, count)) {
    // All reported concepts are in a merged model, as in table 1; apart only those that are shown.
    const auto everybody = ground.of(Set::kReport);
    Shown shown{.subjects = company,
                .directly = way.directly,
                .isolate = way.isolate,
                .base_ratio = way.base_ratio,
                .region_end = way.region_end};
    if (way.compose == Compose::kMerged) {
      shown.model = model_of(ground, everybody, way.merging);
    } else {
      shown.model = model_of(ground, company, {.tune = way.merging.tune, .merge = ""});
      shown.model.compose = way.compose;
      shown.sampler.compose = way.compose;
    }
    row.shown.push_back(shown);
  }
  return row;
}

}  // namespace

std::vector<Table> regions(const Ground& ground) {
  std::vector<Table> tables;
  for (const std::size_t count : {2, 3, 5}) {
    const auto pictured = companies(ground, count);
    if (pictured.empty()) continue;
    Table table{.title = fmt::format("Pictures of {} concepts", count),
                .note = fmt::format("Groups of reported characters and objects, side by side: {}. "
                                    "Identity: image alignment of a region with its own concept; "
                                    "margin: that minus the best with another of the picture.",
                                    pictured.size()),
                .of_several = true,
                .most_prompts = 5};
    for (const auto& way : ways(ground)) table.rows.push_back(row_of(ground, way, count));
    tables.push_back(table);
  }
  return tables;
}

}  // namespace mos::study
