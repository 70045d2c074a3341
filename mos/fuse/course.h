#pragma once

#include <ATen/core/Generator.h>
#include <torch/types.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "mos/fuse/distill.h"
#include "mos/fuse/lessons.h"
#include "mos/fuse/taught_words.h"
#include "mos/nn/conditioning.h"

/// Lessons as the fused model gets them in distillation.
namespace mos::fuse {

/// Some calls of lessons, what was said then, and how much that counts.
struct LessonCalls {
  torch::Tensor noisy, timestep, said;
  nn::Conditioning text;
  std::vector<std::size_t> prompts;  ///< [B] numbers of LessonTexts, what `text` is of.
  torch::Tensor weight;              ///< [B] float64

  std::int64_t count() const { return noisy.size(0); }
  LessonCalls narrow(std::int64_t from, std::int64_t count) const;
};

LessonCalls cat(const std::vector<LessonCalls>& parts);

/// The prompts of all lessons as the fused model reads them, each encoded when it is asked for.
class LessonTexts {
 public:
  /// Refers to both; `words` is null where none is taught.
  LessonTexts(const DistillInputs& inputs, TaughtWords* words);

  /// Returns its number.
  std::size_t add(const std::string& prompt);

  /// [1,…] without gradients.
  nn::Conditioning of(std::size_t number);
  /// What has taught words in it is no longer what it was: they have changed.
  void forget();

  /// Adds to the gradients of the taught words what follows from those of `calls.text`, a leaf. A
  /// prompt at a time runs through the text encoders once more, so memory does not grow with the
  /// calls.
  void pass_back(const LessonCalls& calls);

 private:
  nn::Conditioning encoded(const std::string& prompt);
  struct Prompt {
    std::string prompt;
    bool is_taught = false;  ///< Has a taught word in it.
    nn::Conditioning text;   ///< Undefined: to be encoded.
  };

  const DistillInputs& inputs_;
  TaughtWords* words_;
  std::vector<Prompt> prompts_;
};

/// One concept's lessons.
class Course {
 public:
  /// Keeps references to the lessons and to `texts`, which gets their prompts.
  Course(const DistillInputs& inputs, std::size_t concept_number, LessonTexts& texts);

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
  LessonTexts& texts_;
  std::vector<std::size_t> prompts_;  ///< Their numbers there.
  torch::Tensor taught_, aside_;      ///< int64, numbers of calls.
};

}  // namespace mos::fuse
