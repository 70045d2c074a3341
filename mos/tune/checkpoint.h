#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "mos/io/state_dict.h"
#include "mos/tune/adamw.h"
#include "mos/tune/attached_concept.h"

/// Where a run stands, in one file, so that going on gives bit for bit what an uninterrupted run
/// gives. The random draws need no state: they are functions of the step (draws.h).
namespace mos::tune {

struct RunState {
  std::int64_t step = 0;     ///< Optimiser steps done.
  bool rows_frozen = false;  ///< The words reached their norm.
  double smoothed_loss = 0.0;
};

/// What must be the same for a run to be continued.
struct RunIdentity {
  std::string options;     ///< JSON of all options.
  std::string base;        ///< diffusion::model_hash of the base model.
  std::string prediction;  ///< Its scheduler's prediction_type.
  std::string data;        ///< Hash of the pictures, masks and captions.
};

/// Writes values, moments and state in one step. Throws mos::Error(kIo).
void save_checkpoint(const std::filesystem::path& path, const RunIdentity& identity,
                     const RunState& state, const AttachedConcept& attached,
                     const AdamW& optimiser);

/// Takes up the run of `path`. Throws mos::Error: kIo, kFormat for a damaged file, kMismatch naming
/// what differs when it is of another run.
RunState load_checkpoint(const std::filesystem::path& path, const RunIdentity& identity,
                         AttachedConcept& attached, AdamW& optimiser);

}  // namespace mos::tune
