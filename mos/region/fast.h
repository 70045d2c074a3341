#pragma once

#include <string>
#include <vector>

#include "mos/region/sample.h"

/// What networks want that LoRA files have made fit for a few steps.
namespace mos::region {

struct FastKind {
  const char* name;
  const char* scheduler;
  const char* spacing;
  std::int64_t steps;
  const char* about;
  bool guided = false;  ///< Guidance stays as it is.
};
/// lcm, hyper, lightning and tcd.
const std::vector<FastKind>& fast_kinds();

/// The kind called `name`; "auto": the one whose name occurs in the names of `files`. A file of the
/// kind that names its number of steps ("Hyper-SD15-4steps-lora") sets that, one with "CFG" in its
/// name keeps guidance. Throws kUsage for another name, or when no file says of which kind it is.
FastKind find_fast_kind(const std::string& name, const std::vector<std::string>& files);

/// Scheduler, steps and spacing of `kind`, and no guidance where the kind has none.
void use_fast_kind(const FastKind& kind, SampleOptions& options);

/// Throws kUsage for a scheduler that such a network cannot be sampled with: those of the SDE kind
/// add noise at every step that a few steps do not take away again.
void check_fast_scheduler(const FastKind& kind, const std::string& scheduler);

}  // namespace mos::region
