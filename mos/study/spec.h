#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mos/base/json.h"
#include "mos/region/region.h"
#include "mos/region/sampler_options.h"

/// What rows of a study ask for, before any of it is made.
namespace mos::study {

/// One tuning of one concept.
struct TuneSpec {
  std::string concept_name;
  std::string method = "ed_lora";
  std::uint64_t seed = 0;
  Json options = Json::object();  ///< Over what base and method say.
};

/// What a picture is painted with.
struct ModelSpec {
  std::vector<TuneSpec> concepts;  ///< None: the base model as it is.
  std::string merge;               ///< A method of fuse; empty: a single one as it was tuned.
  Json merge_options = Json::object();
  double scale = 1.0;  ///< On the updates of a single one; 0: its words alone.
  /// Anything but kMerged: no merging, the concepts act where they are called.
  region::Compose compose = region::Compose::kMerged;
};

/// Pictures of one text, one for each seed.
struct PaintSpec {
  ModelSpec model;
  region::Scene scene;  ///< With the concepts' words in it.
  region::SamplerOptions sampler;
  std::int64_t columns = 1;  ///< The canvas is so many times as wide as the model's own.
  std::string name;          ///< Of the text, for file names.
};

Json to_json(const TuneSpec& spec);
Json to_json(const ModelSpec& spec);
Json to_json(const PaintSpec& spec);

/// "genie, ed_lora" or "3 concepts, gradient", for people.
std::string name_of(const ModelSpec& spec);

}  // namespace mos::study
