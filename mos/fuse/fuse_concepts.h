#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mos/base/describe.h"
#include "mos/base/progress.h"
#include "mos/concepts/concept_delta.h"
#include "mos/concepts/key_report.h"
#include "mos/concepts/tokens.h"
#include "mos/diffusion/pipeline.h"
#include "mos/fuse/report.h"

/// Centre-node concept fusion from concept files to one model.
namespace mos::fuse {

/// One client's contribution.
struct ConceptSource {
  std::string name;  ///< For messages and the report, e.g. the file's stem.
  concepts::ConceptDelta delta;
  /// How the concept stands in a prompt; empty: its words. May hold plain words too
  /// ("<potter1> <potter2> man").
  /// A LoRA without words of its own has its trigger words here ("sks dog").
  std::string phrase;
  double text_encoder_scale = 1.0;  ///< The authors' text_encoder_alpha.
  double unet_scale = 1.0;          ///< The authors' unet_alpha.

  concepts::KeyReport keys = {};  ///< What became of the file's keys.

  std::string prompt_phrase() const { return phrase.empty() ? delta.phrase() : phrase; }
};

struct FuseOptions {
  std::string method = "gradient";  ///< gradient, or weight (Eq. 2).
  std::string solver = "exact";     ///< exact, or lbfgs as in the authors' code.
  /// Relative ridges of the exact solver; see RidgeSolver. Larger gives more to `ridge_towards`.
  /// -1: by the number of concepts; see complete_options.
  double text_ridge = -1.0;  ///< Layers fed by text: the text encoder's and keys and values.
  double unet_ridge = -1.0;  ///< All others.
  /// What holds in directions that the recorded inputs leave open: average (of the concepts'
  /// updates, which is weight fusion), sum of them, or base (no update).
  std::string ridge_towards = "average";
  std::string fit_text = "words";  ///< words or padded; see TextFit.
  /// <TOK> stands for the concept. The first one is also sampled.
  std::vector<std::string> prompts = {"photo of a <TOK>", "<TOK>"};
  std::int64_t samples = 1;  ///< Pictures sampled for each concept.
  std::int64_t steps = 20;
  /// Of the arithmetic of those steps: auto is that of the model's weights; bfloat16 takes a
  /// fraction of float32's time on processors with AVX-512 or AMX for it.
  std::string dtype = "auto";
  std::int64_t size = 0;        ///< Picture side in pixels; 0: the base model's own.
  std::uint64_t seed = 0;       ///< Of the first sampled picture; the same for every concept.
  std::vector<double> weights;  ///< Of weight fusion, one for each concept; empty: equal.
  std::int64_t text_iterations = 500;  ///< Of lbfgs, for layers fed by text.
  std::int64_t unet_iterations = 50;   ///< Of lbfgs, for all others.
  /// GiB for the moments of the U-Net's 3×3 convolutions (LoCon files), whose side is 9 times the
  /// channels. Those beyond it, the widest, are fused by equal weights.
  double conv_memory = 8.0;
};

template <class Visitor>
void describe(Visitor& visit, FuseOptions& o) {
  visit("method", o.method, "gradient or weight fusion");
  visit("solver", o.solver, "exact (ridge) or lbfgs");
  visit("text_ridge", o.text_ridge,
        "relative ridge of text-fed layers (-1: by the number of concepts)");
  visit("unet_ridge", o.unet_ridge, "relative ridge of the other layers (-1: the same)");
  visit("ridge_towards", o.ridge_towards, "average, sum or base: where the ridge leads to");
  visit("fit_text", o.fit_text, "words (unpadded prompts) or padded (all positions)");
  visit("prompts", o.prompts, "<TOK> stands for the concept; the first is sampled");
  visit("samples", o.samples, "pictures sampled for each concept");
  visit("steps", o.steps, "denoising steps of those");
  visit("dtype", o.dtype, "of their arithmetic: auto (the weights'), float32 or bfloat16");
  visit("size", o.size, "picture side in pixels (0: the base model's)");
  visit("seed", o.seed, "of the sampled pictures");
  visit("weights", o.weights, "of weight fusion, one for each concept (default: equal)");
  visit("text_iterations", o.text_iterations, "of lbfgs, text-fed layers");
  visit("unet_iterations", o.unet_iterations, "of lbfgs, the other layers");
  visit("conv_memory", o.conv_memory, "GiB to fit 3x3 convolutions in; the rest goes by weights");
}

/// `options` with ridges in the place of negative ones: what kept most of the sample concepts'
/// identity (docs/fusion.md). The average of few updates dilutes each of them little, so the ridge
/// may lead far towards it; that of many does not.
FuseOptions complete_options(FuseOptions options, std::size_t concepts);

/// Throws mos::Error(kUsage) naming the first option with an impossible value.
void check_options(const FuseOptions& options, std::size_t concepts);

struct FusionResult {
  /// All words and one plain LoRA of rank Σr, or the full difference of layers that any concept has
  /// in another form (LoHa, LoKr, DoRA, …): merged at scale 1 into the base model it gives the
  /// fused model's weights, bit for bit.
  concepts::ConceptDelta delta;
  FusionReport report;
};

/// Fuses `sources` into `model`: its tokenizer, text encoder, U-Net and list of concept words
/// become those of the fused model. Memory does not grow with the number of concepts, but for the
/// result. On an exception the model is left half-way: load it again.
///
/// Gradient fusion has three stages, each on top of what the one before wrote: (1) text encoder,
/// (2) keys and values of cross-attention, (3) all other layers.
/// Throws mos::Error: kUsage for impossible options or words that clash, kMismatch for concepts
/// that do not fit the model, kCancelled.
FusionResult fuse_concepts(diffusion::StableDiffusion& model,
                           const std::vector<ConceptSource>& sources, const FuseOptions& options,
                           const ProgressCallback& progress = {},
                           const CancelToken* cancel = nullptr);

}  // namespace mos::fuse
