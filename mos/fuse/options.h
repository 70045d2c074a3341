#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mos/base/counts.h"
#include "mos/base/describe.h"
#include "mos/base/factor.h"
#include "mos/fuse/method.h"
#include "mos/fuse/text_fit.h"

/// Options of fuse_concepts(): which method, its own ones, and how inputs are recorded for it.
namespace mos::fuse {

/// For methods that look at the concepts' inputs.
struct RecordOptions {
  TextFit fit_text = TextFit::kWords;
  /// <TOK> stands for the concept. The first one is also sampled.
  std::vector<std::string> prompts = {"photo of a <TOK>", "<TOK>"};
  std::int64_t samples = 1;  ///< Pictures sampled for each concept.
  std::int64_t steps = 20;
  double guidance_scale = 1.0;  ///< While these are sampled; the authors have none.
  /// Of the arithmetic of those steps: auto is that of the model's weights; bfloat16 takes a
  /// fraction of float32's time on processors with AVX-512 or AMX for it, so where it is fast it is
  /// what auto means to distillation.
  std::string dtype = "auto";
  std::int64_t size = 0;   ///< Picture side in pixels; 0: the base model's own.
  std::uint64_t seed = 0;  ///< Of the first sampled picture; the same for every concept.
  /// GiB for the moments of the U-Net's 3×3 convolutions (LoCon files), whose side is 9 times the
  /// channels. Those beyond it, the widest, are merged by weights.
  double conv_memory = 8.0;
};

template <class Visitor>
void describe(Visitor& visit, RecordOptions& o) {
  visit("fit_text", o.fit_text, "words (unpadded prompts) or padded (all positions)");
  visit("prompts", o.prompts, "<TOK> stands for the concept; the first is sampled");
  visit("samples", o.samples, "pictures sampled for each concept", count_of(1, kMostPictures));
  visit("steps", o.steps, "denoising steps of those", count_of(1, kMostDenoisingSteps));
  visit("guidance_scale", o.guidance_scale, "guidance of those (1: none)", between(1, 100));
  visit(
      "dtype", o.dtype,
      "of their arithmetic: auto (the weights'; distilling, bfloat16 where it is fast), float32 or "
      "bfloat16",
      one_of({"auto", "float32", "bfloat16"}));
  visit("size", o.size, "picture side in pixels (0: the base model's)", count_of(0, kLargestSide));
  visit("seed", o.seed, "of the sampled pictures");
  visit("conv_memory", o.conv_memory, "GiB to fit 3x3 convolutions in; the rest goes by weights",
        between(0, 1e6));
}

struct FuseOptions {
  std::string method = "gradient";  ///< One of methods().
  /// By concept, see Weighting; empty: all alike.
  std::vector<double> weights = {};
  /// Options of the method by name; those that it does not name keep their defaults.
  Json of_method = Json::object();
  RecordOptions record = {};
};

/// Throws mos::Error(kUsage) unless there are some and each has a place for the concept.
void check_prompts(const std::string& option, const std::vector<std::string>& prompts);

/// What `weights` mean, a few words.
const char* weights_help(Weighting weighting);

/// Visits the options that the chosen method takes, and no others.
template <class Visitor>
void describe(Visitor& visit, FuseOptions& o) {
  visit("method", o.method, "how to merge", one_of(method_names()));
  visit("weights", o.weights, weights_help(method_info(o.method).weighting), a_factor());
  const auto method = make_method(o.method, o.of_method);
  FieldVisitorOf own(visit);
  method->describe(own);
  o.of_method = options_of(*method);
  if (method->needs().inputs != Recorded::kNothing) describe(visit, o.record);
}

/// The names of the methods that take `option`.
std::vector<std::string> takers_of(const std::string& option);

/// Throws mos::Error(kUsage) naming the first option with an impossible value.
void check_options(const FuseOptions& options, std::size_t concepts);

}  // namespace mos::fuse
