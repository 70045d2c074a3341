#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "mos/base/counts.h"
#include "mos/base/describe.h"

namespace mos::fuse {

/// Options of distill().
struct DistillOptions {
  std::int64_t distill_steps = 200;
  /// Relative to the root mean square of each factor, so that it means the same in every layer and
  /// on every base model.
  double distill_rate = 0.03;
  std::int64_t distill_batch = 2;         ///< Calls of each concept in a step.
  std::int64_t distill_micro_batch = 16;  ///< Calls that go through the network at once.
  /// Pictures of each prompt that the own models paint; the last one is not taught.
  std::int64_t lessons = 8;
  std::int64_t lesson_steps = 12;  ///< Denoising steps of each.
  double lesson_guidance = 3.0;    ///< While they do, as whoever paints with it has some.
  /// A concept alone, and with what may stand beside it: where nothing else was ever with it, it
  /// gives way to that.
  std::vector<std::string> lesson_prompts = {"photo of a <TOK>",        "<TOK>",
                                             "a picture of <TOK>",      "a cat and <TOK>",
                                             "a car in front of <TOK>", "<TOK> and a tree",
                                             "a man with <TOK>",        "<TOK> on the grass"};

  /// Pictures of a lesson that are painted at once: with guidance the network is run on twice as
  /// many.
  std::int64_t lessons_at_once() const {
    const bool guided = lesson_guidance > 1.0;
    return std::max<std::int64_t>(1, guided ? distill_micro_batch / 2 : distill_micro_batch);
  }
};

template <class Visitor>
void describe(Visitor& visit, DistillOptions& o) {
  visit("distill_steps", o.distill_steps, "steps of distillation (0: none)",
        count_of(0, kMostSteps));
  visit("distill_rate", o.distill_rate, "its learning rate, as a share of each factor's size",
        between(1e-6, 10));
  visit("distill_batch", o.distill_batch, "calls of each concept in a step",
        count_of(1, kMostAtATime));
  visit("distill_micro_batch", o.distill_micro_batch,
        "calls that go through the network at once: fewer take less memory",
        count_of(1, kMostAtATime));
  visit("lessons", o.lessons,
        "pictures of each lesson prompt that a concept's own model paints, one "
        "of them to measure by",
        count_of(2, kMostAtATime));
  visit("lesson_steps", o.lesson_steps, "denoising steps of those",
        count_of(1, kMostDenoisingSteps));
  visit("lesson_guidance", o.lesson_guidance, "guidance of those (1: none)", between(1, 100));
  visit("lesson_prompts", o.lesson_prompts, "what these are of; <TOK> stands for the concept");
}

}  // namespace mos::fuse
