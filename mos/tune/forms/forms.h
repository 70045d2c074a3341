#pragma once

#include "mos/tune/trained_layer.h"

/// What the files of this folder give to trained_layer.cpp: for each form its start, and its
/// training in a layer that `start` fits.
namespace mos::tune::forms {

concepts::LayerUpdate low_rank_start(const nn::LoraLayer& layer, const WeightPlan& plan,
                                     std::uint64_t seed, std::uint64_t draw);
std::unique_ptr<TrainedLayer> low_rank(nn::LoraLayer& layer, const concepts::LowRank& start,
                                       const WeightPlan& plan);

concepts::LayerUpdate full_start(const nn::LoraLayer& layer);
std::unique_ptr<TrainedLayer> full(nn::LoraLayer& layer, const concepts::LayerUpdate& start);

concepts::LayerUpdate spectral_start(const nn::LoraLayer& layer);
std::unique_ptr<TrainedLayer> spectral(nn::LoraLayer& layer, const concepts::Dense& start);

concepts::LayerUpdate neurons_start(const nn::LoraLayer& layer);
std::unique_ptr<TrainedLayer> neurons(nn::LoraLayer& layer, double silent_gate);

/// Throws mos::Error(kUsage) when an orthogonal basis of a layer with `inputs` has fewer rows.
void check_basis(std::int64_t inputs, std::int64_t count);

/// [count,I] float32: rows of the orthogonal I×I matrix that `basis_seed` means everywhere; which
/// ones `generator` draws. Throws as check_basis does.
torch::Tensor basis_rows(std::int64_t inputs, std::int64_t count, std::uint64_t basis_seed,
                         at::Generator& generator);

}  // namespace mos::tune::forms
