#include "mos/tune/shares.h"

#include <torch/csrc/autograd/autograd.h>

#include "mos/io/state_dict.h"
#include "mos/nn/parameter.h"

namespace mos::tune {

using torch::Tensor;

namespace {

/// A network of the shape of `original`, on its very tensors.
template <typename Network>
Network network_like(const Network& original) {
  Network replica(original->config());
  io::share_weights(*original, *replica);
  replica->eval();
  return replica;
}

/// A model with networks of its own, where tuning changes any, on the weights of `base`.
diffusion::Model replica_of(const diffusion::Model& base) {
  const nn::ShapesOnly no_memory;  // the weights are those of `base`
  auto replica = base;
  for (auto& tower : replica.towers) tower.encoder = network_like(tower.encoder);
  replica.unet = network_like(base.unet);
  replica.unet->set_text_slices(base.unet->text_slices());
  return replica;
}

/// Copies of the maps that keep a gradient of their own.
AttentionMaps leaves_of(const AttentionMaps& maps) {
  AttentionMaps leaves{.means = {}, .masks = maps.masks};
  for (const auto& [positions, mean] : maps.means) {
    leaves.means[positions] = mean.detach().requires_grad_();
  }
  return leaves;
}

/// The gradient of a share's denoising error, and of what the joint loss asks of its maps.
std::vector<Tensor> backward(const TuningTerms& terms, const AttentionMaps& leaves,
                             const std::vector<Tensor>& parameters) {
  std::vector<Tensor> outputs, asked;
  const auto put = [&](const Tensor& output, const Tensor& gradient) {
    // Without any concept word in the share, rank 0 leaves nothing to differentiate.
    if (!output.requires_grad() || !gradient.defined()) return;
    outputs.push_back(output);
    asked.push_back(gradient);
  };
  put(terms.denoising, torch::ones_like(terms.denoising));
  for (const auto& [positions, mean] : terms.attention.means) {
    put(mean, leaves.means.at(positions).grad());
  }
  if (outputs.empty()) return std::vector<Tensor>(parameters.size());
  return torch::autograd::grad(outputs, parameters, asked, /*retain_graph=*/{},
                               /*create_graph=*/false, /*allow_unused=*/true);
}

}  // namespace

ShareRunner::ShareRunner(const diffusion::Model& base, AttachedConcept& first, std::int64_t threads)
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

/// Each index in the same thread and networks at every call.
void ShareRunner::for_each(std::size_t count,
                           const std::function<void(AttachedConcept&, std::size_t)>& work) {
  const auto threads = replicas_.size() + 1;
  const auto of_worker = [&](std::size_t worker) {
    auto& attached = worker == 0 ? first_ : *replicas_[worker - 1];
    for (auto i = worker; i < count; i += threads) work(attached, i);
  };
  if (workers_) {
    workers_->run(of_worker);
  } else {
    of_worker(0);
  }
}

void ShareRunner::for_each_network(const std::function<void(AttachedConcept&)>& visit) {
  visit(first_);
  for (auto& replica : replicas_) visit(*replica);
}

ForEach ShareRunner::one_thread_each() {
  return [this](std::size_t count, const std::function<void(std::size_t)>& work) {
    for_each(count, [&work](AttachedConcept&, std::size_t i) { work(i); });
  };
}

void ShareRunner::add(const Gradients& gradients) {
  auto parameters = trained(first_);
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (!gradients[i].defined()) continue;
    auto& sum = parameters[i].mutable_grad();
    sum = sum.defined() ? sum + gradients[i] : gradients[i];
  }
}

Tensor ShareRunner::add_gradients(std::int64_t shares, const ShareTerms& terms,
                                  const JointLoss& joint) {
  std::vector<TuningTerms> outputs(static_cast<std::size_t>(shares));
  for_each(outputs.size(), [&](AttachedConcept& attached, std::size_t i) {
    outputs[i] = terms(attached, static_cast<std::int64_t>(i));
  });

  // The joint loss on copies of the maps, whose gradients each share then takes further back.
  std::vector<AttentionMaps> leaves;
  for (const auto& output : outputs) leaves.push_back(leaves_of(output.attention));
  const auto together = joined(leaves);
  const auto like = outputs.front().denoising.detach();
  auto total = torch::zeros({}, like.options().dtype(torch::kFloat64));
  if (!together.means.empty()) {
    const auto loss = joint(together);
    loss.backward();
    total = total + loss.detach().to(torch::kFloat64);
  }

  std::vector<Gradients> gradients(outputs.size());
  for_each(outputs.size(), [&](AttachedConcept& attached, std::size_t i) {
    gradients[i] = backward(outputs[i], leaves[i], trained(attached));
    outputs[i].attention = {};
  });
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    total = total + outputs[i].denoising.detach().to(torch::kFloat64);
    add(gradients[i]);
  }
  return total;
}

}  // namespace mos::tune
