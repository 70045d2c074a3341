#pragma once

#include <ATen/core/Generator.h>
#include <torch/types.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "mos/fuse/distill.h"
#include "mos/fuse/lessons.h"
#include "mos/nn/conditioning.h"

/// Lessons as the fused model gets them in distillation.
namespace mos::fuse {

/// Some calls of lessons, what was said then, and how much that counts.
struct LessonCalls {
  torch::Tensor noisy, timestep, said;
  nn::Conditioning text;
  torch::Tensor weight;  ///< [B] float64

  std::int64_t count() const { return noisy.size(0); }
  LessonCalls narrow(std::int64_t from, std::int64_t count) const;
};

LessonCalls cat(const std::vector<LessonCalls>& parts);

/// One concept's lessons.
class Course {
 public:
  /// Keeps a reference to the lessons.
  Course(const DistillInputs& inputs, std::size_t concept_number);

  std::size_t concept_number() const { return number_; }
  double weight() const { return weight_; }

  /// Some of what is taught.
  LessonCalls drawn(std::int64_t count, double weight, at::Generator& generator) const;

  std::int64_t aside_count() const { return aside_.size(0); }
  /// Some of what is not, weighing 1 together.
  LessonCalls aside(std::int64_t from, std::int64_t count) const;

 private:
  LessonCalls calls(const torch::Tensor& numbers, double weight) const;

  std::size_t number_;
  double weight_;
  torch::TensorOptions options_;
  const Lessons& lessons_;
  std::vector<nn::Conditioning> texts_;  ///< By prompt.
  torch::Tensor taught_, aside_;         ///< int64, numbers of calls.
};

}  // namespace mos::fuse
