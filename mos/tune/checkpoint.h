#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>

#include "mos/base/file.h"
#include "mos/io/state_dict.h"
#include "mos/train/optimiser.h"
#include "mos/tune/attached_concept.h"
#include "mos/tune/identity.h"

/// Where a run stands, in one file, so that going on gives bit for bit what an uninterrupted run
/// gives. The random draws need no state: they are functions of the step (draws.h).
namespace mos::tune {

struct RunState {
  std::int64_t step = 0;         ///< Optimiser steps done.
  std::int64_t previewed = 0;    ///< The last step whose sample pictures are all there.
  std::set<std::string> frozen;  ///< The groups that reached their norm.
  double smoothed_loss = 0.0;
};

/// Where a checkpoint goes, and what becomes of one that cannot go there.
struct CheckpointPlace {
  std::filesystem::path path;
  FileRules rules = {.unplaced = Unplaced::kDiscard};
};

/// Writes values, moments and state in one step. Throws mos::Error(kIo).
void save_checkpoint(const CheckpointPlace& place, const RunIdentity& identity,
                     const RunState& state, const AttachedConcept& attached,
                     const train::Optimiser& optimiser);

/// Whether `path` is a checkpoint of ours, whole or cut off. Throws mos::Error(kIo).
bool is_checkpoint(const std::filesystem::path& path);

/// The step of a whole one, for messages; nothing where it cannot be read.
std::optional<std::int64_t> checkpoint_step(const std::filesystem::path& path);

/// How the run whose checkpoint is at `path` differs from `now`, as difference_of has it. Empty
/// where it is the same, nothing is there, or what is there is damaged, which no run can go on
/// from. Reads the header alone.
std::string other_run_at(const std::filesystem::path& path, const RunIdentity& now);

/// Takes up the run of `path`. Other versions of the program or of LibTorch are warned of.
/// Throws mos::Error: kIo, kFormat for a damaged file, kMismatch naming what differs when it is of
/// another run. The values of `attached` are then undefined.
RunState load_checkpoint(const std::filesystem::path& path, const RunIdentity& identity,
                         AttachedConcept& attached, train::Optimiser& optimiser);

}  // namespace mos::tune
