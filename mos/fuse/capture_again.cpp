#include "mos/fuse/capture_again.h"

#include <optional>

#include "mos/nn/linear.h"

namespace mos::fuse {

using torch::Tensor;

PairRecorder::PairRecorder(torch::nn::Module& model, const LayerNames& layers) {
  const auto observed = observed_sites(model, layers);
  for (const auto& [name, layer] : observed) {
    auto& site = sites_[name];
    const auto features = layer->in_features();
    const auto options = layer->weight.options().dtype(torch::kFloat64).requires_grad(false);
    site.sums = {.again = torch::zeros({features, features}, options),
                 .cross = torch::zeros({features, features}, options)};
    layer->input_observer = [this, &site](const Tensor& input) { take(site, input); };
    observed_.push_back(layer);
  }
}

PairRecorder::~PairRecorder() {
  for (auto* layer : observed_) layer->input_observer = nullptr;
}

void PairRecorder::take(Site& site, const Tensor& input) {
  const torch::NoGradGuard no_grad;
  auto rows = half_.of(input)
                  .detach()
                  .reshape({-1, input.size(-1)})
                  .to(torch::kFloat64, /*non_blocking=*/false, /*copy=*/true);
  // A layer that is called twice in one pass keeps both inputs, in their sequence: the two states
  // are the same calls, so pairs meet in the end.
  (state_ == State::kOwn ? site.own : site.merged).push_back(std::move(rows));
  // Rows wait only for their partner: memory is that of one pass, not of the run.
  if (site.own.empty() || site.merged.empty()) return;
  const auto& own = site.own.front();
  const auto& merged = site.merged.front();
  site.sums.again.addmm_(merged.t(), merged);
  site.sums.cross.addmm_(own.t(), merged);
  site.own.pop_front();
  site.merged.pop_front();
}

SitePairs PairRecorder::pairs() const {
  SitePairs pairs;
  for (const auto& [name, site] : sites_) {
    pairs.emplace(name,
                  PairedMoments{.again = site.sums.again.cpu(), .cross = site.sums.cross.cpu()});
  }
  return pairs;
}

namespace {

/// A network in one of its states, for a while.
concepts::ScopedMerge merged_as(torch::nn::Module& network, const concepts::ScaledLora& state) {
  return {network, *state.updates, state.merge_scale, state.origin};
}

}  // namespace

SitePairs capture_tower_again(const diffusion::TextTower& tower,
                              const concepts::ConceptTokens& tokens, const ConceptPrompts& shown,
                              const TwoStates& states, const LayerNames& layers) {
  auto encoder = tower.encoder;
  PairRecorder recorder(*encoder, layers);
  {
    const auto own = merged_as(*encoder, states.own);
    run_tower(tower, tokens, shown);
  }
  recorder.expect_merged();
  const auto merged = merged_as(*encoder, states.merged);
  run_tower(tower, tokens, shown);
  return recorder.pairs();
}

SitePairs capture_unet_again(const diffusion::Model& model, const concepts::ConceptTokens& tokens,
                             const SamplingRun& run, const TwoStates& states,
                             const LayerNames& layers, const SamplingHooks& hooks) {
  auto unet = model.unet;
  PairRecorder recorder(*unet, layers);
  std::optional<concepts::ScopedMerge> own;
  // The sampler takes the residuals of nobody: this is the hook that sees what the network is about
  // to be asked. The merged network is asked first, then the concept's own goes on with the step,
  // so both see the same latents.
  const auto ask_merged = [&](const diffusion::NetworkCall& call) {
    recorder.expect(call);
    {
      const auto merged = merged_as(*unet, states.merged);
      recorder.expect_merged();
      unet->forward(call.input, call.timestep, call.text);
    }
    recorder.expect_own();
    own.emplace(*unet, *states.own.updates, states.own.merge_scale, states.own.origin);
    return nn::UNetResiduals();
  };
  const auto after_step = [&](std::int64_t done) {
    own.reset();
    if (hooks.after_step) hooks.after_step(done);
  };
  sample_latents(model, tokens, run,
                 {.before_step = ask_merged, .after_step = after_step, .cancel = hooks.cancel});
  return recorder.pairs();
}

}  // namespace mos::fuse
