#include "mos/study/spec.h"

#include <fmt/core.h>

#include "mos/base/describe.h"

namespace mos::study {
namespace {

Json sampler_json(region::SamplerOptions options) {
  JsonWriter writer;
  region::describe_sampling(writer, options);
  auto all = writer.take();
  all.erase("perturbed_attention");  // the study's, for all pictures
  return all;
}

}  // namespace

Json to_json(const TuneSpec& spec) {
  return {{"concept", spec.concept_name},
          {"method", spec.method},
          {"seed", spec.seed},
          {"options", spec.options}};
}

Json to_json(const ModelSpec& spec) {
  Json json = {{"concepts", Json::array()},
               {"merge", spec.merge},
               {"merge_options", spec.merge_options},
               {"scale", spec.scale},
               {"compose", choice_name(spec.compose)}};
  for (const auto& one : spec.concepts) json["concepts"].push_back(to_json(one));
  return json;
}

Json to_json(const PaintSpec& spec) {
  return {{"model", to_json(spec.model)},
          {"scene", region::scene_to_json(spec.scene)},
          {"sampler", sampler_json(spec.sampler)},
          {"columns", spec.columns}};
}

std::string name_of(const ModelSpec& spec) {
  if (spec.concepts.empty()) return "base";
  const auto& first = spec.concepts.front();
  if (spec.concepts.size() == 1) {
    const auto scale = spec.scale == 1.0 ? "" : fmt::format(" scale {}", spec.scale);
    return fmt::format("{} {}{} {}", first.concept_name, first.method, scale, spec.merge);
  }
  const auto how = spec.merge.empty() ? choice_name(spec.compose) : spec.merge;
  return fmt::format("{} concepts {} {}", spec.concepts.size(), first.method, how);
}

}  // namespace mos::study
