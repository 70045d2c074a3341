#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "mos/diffusion/model.h"
#include "mos/tune/dataset.h"
#include "mos/tune/options.h"

/// What makes two runs the same run: all that the tuned numbers depend on.
namespace mos::tune {

struct RunIdentity {
  /// JSON of the options that change what is learned, with what they came out as here: never
  /// "auto" for the dtype, and the threads where they show in the last bits.
  std::string options;
  std::string base;      ///< diffusion::model_hash of the base model.
  std::string settings;  ///< JSON of its configs: noise schedule and networks.
  std::string data;      ///< Hash of the pictures, masks and captions.
  /// Who computes. Other versions give other last bits, so a run that changes hands is warned of.
  std::string program;
};

/// `threads`: how many the operations are divided among; 0 where their number changes nothing.
RunIdentity identity_of(const diffusion::Model& base, const ConceptDataset& dataset,
                        const TuneOptions& options, std::int64_t threads);

/// How `now` differs from a run with these entries, as "another base model"; empty for the same
/// run. Who computes makes no difference here.
std::string difference_of(const std::map<std::string, std::string>& before, const RunIdentity& now);

/// The same as far as it shows before the base model is loaded: in the options, which are complete,
/// and the pictures.
std::string difference_without_base(const std::map<std::string, std::string>& before,
                                    const ConceptDataset& dataset, const TuneOptions& options);

/// The entries for difference_of.
std::map<std::string, std::string> entries_of(const RunIdentity& identity);

/// The name that `options.run.dtype` has for it.
std::string dtype_name(torch::ScalarType dtype);

}  // namespace mos::tune
