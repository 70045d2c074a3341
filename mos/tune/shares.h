#pragma once

#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "mos/base/workers.h"
#include "mos/diffusion/model.h"
#include "mos/tune/attached_concept.h"
#include "mos/tune/latents.h"
#include "mos/tune/objective.h"

/// The gradient of a batch from shares of it, several at a time.
namespace mos::tune {

/// Each thread runs whole shares alone, in networks of its own on the same weights: threads that
/// divide every operation of a small network wait for each other most of the time.
class ShareRunner {
 public:
  /// `first` is the concept under training in the networks of `base`. Up to `threads` shares run
  /// at the same time.
  ShareRunner(const diffusion::Model& base, AttachedConcept& first, std::int64_t threads);

  /// The terms of one share, computed in the given networks.
  using ShareTerms = std::function<TuningTerms(AttachedConcept&, std::int64_t share)>;
  /// The loss of all shares' attention maps together, a float32 scalar.
  using JointLoss = std::function<torch::Tensor(const AttentionMaps&)>;

  /// Adds the gradient of the sum of all shares' denoising errors and of the joint loss to the
  /// parameters of the first concept and returns that sum. It is the gradient of the whole batch:
  /// the shares wait for each other where its largest attention is needed. Gradients are added in
  /// the order of the shares: the number of threads changes nothing. The sum is a float64 scalar on
  /// the device, which is not waited for.
  torch::Tensor add_gradients(std::int64_t shares, const ShareTerms& terms, const JointLoss& joint);

  /// The concept in its first networks and in every replica, one after the other.
  void for_each_network(const std::function<void(AttachedConcept&)>& visit);

  /// Other work for the same threads, each part in one thread alone. Valid as long as this is.
  ForEach one_thread_each();

 private:
  using Gradients = std::vector<torch::Tensor>;  ///< Undefined where a parameter has no part.

  void for_each(std::size_t count,
                const std::function<void(AttachedConcept&, std::size_t index)>& work);
  Gradients trained(const AttachedConcept& attached) const;
  void add(const Gradients& gradients);

  AttachedConcept& first_;
  std::vector<std::unique_ptr<AttachedConcept>> replicas_;
  std::unique_ptr<Workers> workers_;  ///< None for a single thread.
};

}  // namespace mos::tune
