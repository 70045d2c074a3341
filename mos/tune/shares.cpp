#include "mos/tune/shares.h"

#include <torch/csrc/autograd/autograd.h>

#include "mos/io/state_dict.h"
#include "mos/nn/parameter.h"

namespace mos::tune {

using torch::Tensor;

namespace {

/// Networks of the shape of `base` on the very tensors of `base`.
TunedNetworks replica_of(const diffusion::StableDiffusion& base) {
  const nn::ShapesOnly no_memory;  // the weights are those of `base`
  TunedNetworks replica{base.tokenizer, nn::CLIPTextModel(base.text_encoder->config()),
                        nn::UNet2DConditionModel(base.unet->config())};
  io::share_weights(*base.text_encoder, *replica.text_encoder);
  io::share_weights(*base.unet, *replica.unet);
  replica.text_encoder->eval();
  replica.unet->eval();
  return replica;
}

}  // namespace

ShareRunner::ShareRunner(const diffusion::StableDiffusion& base, AttachedConcept& first,
                         std::int64_t threads)
    : first_(first) {
  if (threads < 2) return;
  for (std::int64_t i = 1; i < threads; ++i) {
    replicas_.push_back(std::make_unique<AttachedConcept>(replica_of(base), first));
  }
  workers_ = std::make_unique<Workers>(static_cast<std::size_t>(threads));
}

std::vector<Tensor> ShareRunner::trained(const AttachedConcept& attached) const {
  const auto own = attached.parameters(), leading = first_.parameters();
  std::vector<Tensor> values;
  for (std::size_t i = 0; i < own.size(); ++i) {
    if (leading[i].value.requires_grad()) values.push_back(own[i].value);
  }
  return values;
}

ShareRunner::Result ShareRunner::run(AttachedConcept& attached, std::int64_t share,
                                     const ShareLoss& loss) const {
  const auto value = loss(attached, share);
  const auto parameters = trained(attached);
  Result result{value.item<double>(), std::vector<Tensor>(parameters.size())};
  // Without any concept word in the share, rank 0 leaves nothing to differentiate.
  if (value.requires_grad()) {
    result.gradients = torch::autograd::grad({value}, parameters, /*grad_outputs=*/{},
                                             /*retain_graph=*/{}, /*create_graph=*/false,
                                             /*allow_unused=*/true);
  }
  return result;
}

std::vector<ShareRunner::Result> ShareRunner::run_all(std::int64_t shares, const ShareLoss& loss) {
  std::vector<Result> results(static_cast<std::size_t>(shares));
  const auto threads = replicas_.size() + 1;
  const auto work = [&](std::size_t worker) {
    auto& attached = worker == 0 ? first_ : *replicas_[worker - 1];
    for (auto i = worker; i < results.size(); i += threads) {
      results[i] = run(attached, static_cast<std::int64_t>(i), loss);
    }
  };
  if (workers_) {
    workers_->run(work);
  } else {
    work(0);
  }
  return results;
}

double ShareRunner::add_gradients(std::int64_t shares, const ShareLoss& loss) {
  double total = 0.0;
  auto parameters = trained(first_);
  for (const auto& result : run_all(shares, loss)) {
    total += result.loss;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const auto& gradient = result.gradients[i];
      if (!gradient.defined()) continue;
      auto& sum = parameters[i].mutable_grad();
      sum = sum.defined() ? sum + gradient : gradient;
    }
  }
  return total;
}

}  // namespace mos::tune
