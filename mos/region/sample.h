#pragma once

#include <torch/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "mos/base/counts.h"
#include "mos/base/describe.h"
#include "mos/base/progress.h"
#include "mos/concepts/tokens.h"
#include "mos/diffusion/denoise.h"
#include "mos/diffusion/model.h"
#include "mos/region/condition.h"
#include "mos/region/own_updates.h"
#include "mos/region/picture_options.h"
#include "mos/region/picture_start.h"
#include "mos/region/region.h"
#include "mos/region/regional_attention.h"
#include "mos/region/sampler_options.h"
#include "mos/region/structure.h"

namespace mos::region {

/// Pictures of one order: all their places are looked at before the first is painted, which takes
/// seconds for so many. More are further orders with later seeds.
inline constexpr std::int64_t kMostSeeds = 10'000;

struct SampleOptions {
  std::int64_t height = 0;  ///< Pixels; 0: the model's own size.
  std::int64_t width = 0;
  std::int64_t steps = 50;  ///< The authors' default.
  double guidance_scale = 7.5;
  std::string scheduler = "dpm++";  ///< See diffusion::make_scheduler.
  double eta = 0.0;                 ///< DDIM only.
  std::uint64_t seed = 0;           ///< Of the first picture; the next ones count up.
  std::int64_t count = 1;           ///< Pictures in one batch.
  SamplerOptions sampler;           ///< What most pictures leave alone.
  PictureOptions pictures;          ///< The same.
};

/// Options of which records hold only what is not usual.
template <class Visitor>
void describe_more(Visitor& visit, SampleOptions& options) {
  describe_sampling(visit, options.sampler);
  describe_pictures(visit, options.pictures);
}

template <class Visitor>
void describe(Visitor& visit, SampleOptions& options) {
  visit("height", options.height, "pixels; 0: what the model was trained at",
        count_of(0, kLargestSide));
  visit("width", options.width, "pixels; 0: what the model was trained at",
        count_of(0, kLargestSide));
  visit("steps", options.steps, "denoising steps", count_of(1, kMostDenoisingSteps));
  visit("guidance_scale", options.guidance_scale, "classifier-free guidance; 1 or less: none",
        between(-1000, 1000));
  visit("scheduler", options.scheduler,
        "the sampler: dpm++, euler, ddim and others; empty: the model's own");
  visit("eta", options.eta, "noise of DDIM's steps, 0 to 1", between(0, 1));
  visit("seed", options.seed, "seed of the first picture; the next ones count up");
  visit("count", options.count, "pictures", count_of(1, kMostSeeds));
  describe_more(visit, options);
}

/// Throws kUsage naming the first option that is impossible on any model.
void check_options(const SampleOptions& options);

/// The canvas of `options`, with the model's own size for what is 0.
Canvas canvas_of(const diffusion::Model& model, const SampleOptions& options);

/// The canvas of the finished picture: that, or the second pass's.
Canvas hires_canvas(const diffusion::Model& model, const SampleOptions& options);

/// The texts of a scene as the U-Net reads them.
struct SceneTexts {
  nn::Conditioning cond, uncond;       ///< Of one picture.
  std::vector<RegionContext> regions;  ///< In their order.
  StructuredText structure = {};       ///< Of `cond`.
};

/// Every distinct prompt of the scene, root prompts before them, runs through the encoder once.
SceneTexts encode_scene(diffusion::Model& model, const concepts::ConceptTokens& tokens,
                        const Scene& scene, const SampleOptions& options);

/// What a scene is painted with beside its words.
struct PaintInputs {
  torch::Tensor noise;                      ///< [count,C,h,w] instead of the seeds, when defined.
  std::vector<LoadedCondition> conditions;  ///< Those of the scene, loaded.
  LoadedStart start;                        ///< Of the options' picture, loaded.
  /// What encode_scene() gives for the scene and options, for who paints it more than once; empty:
  /// it is called.
  std::optional<SceneTexts> texts = {};
  OwnOfScene own = {};  ///< Concepts that are not in the weights, but in regions.
  diffusion::PredictCallback predict = {};  ///< In the place of one run of the network.
};

/// A region with a box for each subject of the scene's prompt (its concept words, or those that
/// `sampler.subjects` names), where the picture of that seed has it after a third of its steps
/// (see auto_regions.h). Throws kUsage for scenes with regions and for fewer than two subjects, and
/// as below.
std::vector<Region> find_regions(diffusion::Model& model, const concepts::ConceptTokens& tokens,
                                 const Scene& scene, const SampleOptions& options,
                                 const PaintInputs& inputs = {},
                                 const CancelToken* cancel = nullptr);

/// Paints `scene`: latents [count,C,h,w] float32. Without regions this is plain text-to-picture.
/// Throws kUsage for impossible sizes, boxes or steps, kMismatch for texts that do not fit.
torch::Tensor sample_latents(diffusion::Model& model, const concepts::ConceptTokens& tokens,
                             const Scene& scene, const SampleOptions& options,
                             const PaintInputs& inputs = {},
                             const diffusion::StepCallback& on_step = {},
                             const CancelToken* cancel = nullptr);

/// The same as pictures, uint8 [count,H,W,3].
torch::Tensor sample_pictures(diffusion::Model& model, const concepts::ConceptTokens& tokens,
                              const Scene& scene, const SampleOptions& options,
                              const PaintInputs& inputs = {},
                              const diffusion::StepCallback& on_step = {},
                              const CancelToken* cancel = nullptr);

}  // namespace mos::region
