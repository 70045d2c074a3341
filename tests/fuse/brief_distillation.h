#pragma once

#include <algorithm>
#include <vector>

#include "mos/fuse/fuse_concepts.h"
#include "tests/support/tiny_concepts.h"
#include "tests/support/tiny_model.h"

/// Distillation of two concepts of the tiny model in a few steps.
namespace mos::tiny {

/// A few steps, in a type in which nothing is lost.
inline fuse::FuseOptions brief_distillation() {
  return {.method = "distill",
          .of_method = {{"distill_steps", 12},
                        {"lessons", 2},
                        {"lesson_steps", 3},
                        {"lesson_prompts", {"photo of a <TOK>", "<TOK> and a dog"}}},
          .record = {.steps = 2, .dtype = "float32"}};
}

inline const std::vector<fuse::ConceptSource>& pair_of_concepts() {
  static const std::vector sources = {random_source("cat", 5), random_source("owl", 6)};
  return sources;
}

inline fuse::FusionResult fused(
    const fuse::FuseOptions& options,
    const std::vector<fuse::ConceptSource>& sources = pair_of_concepts()) {
  auto base = model();
  return fuse_concepts(base, sources, options);
}

/// Whether all updates of the part are the same to the bit.
inline bool are_same(const fuse::FusionResult& a, const fuse::FusionResult& b,
                     checkpoint::Part part) {
  const auto& theirs = b.delta.of(part);
  if (theirs.empty() || a.delta.of(part).size() != theirs.size()) return false;
  return std::ranges::all_of(a.delta.of(part), [&](const auto& entry) {
    const auto own = *entry.second.as_pair(), other = *theirs.at(entry.first).as_pair();
    return torch::equal(own.up, other.up) && torch::equal(own.down, other.down);
  });
}

}  // namespace mos::tiny
