#pragma once

#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "mos/base/workers.h"
#include "mos/diffusion/pipeline.h"
#include "mos/tune/attached_concept.h"

/// The gradient of a batch from shares of it, several at a time.
namespace mos::tune {

/// Each thread runs whole shares alone, in networks of its own on the same weights: threads that
/// divide every operation of a small network wait for each other most of the time.
class ShareRunner {
 public:
  /// `first` is the concept under training in the networks of `base`. Up to `threads` shares run
  /// at the same time.
  ShareRunner(const diffusion::StableDiffusion& base, AttachedConcept& first, std::int64_t threads);

  /// The loss of one share, a float32 scalar, computed in the given networks.
  using ShareLoss = std::function<torch::Tensor(AttachedConcept&, std::int64_t share)>;

  /// Adds the gradient of the sum of all shares' losses to the parameters of the first concept and
  /// returns that sum. Gradients are added in the order of the shares: the number of threads
  /// changes nothing.
  double add_gradients(std::int64_t shares, const ShareLoss& loss);

 private:
  struct Result {
    double loss = 0.0;
    std::vector<torch::Tensor> gradients;  ///< Undefined where a parameter has no part in it.
  };
  Result run(AttachedConcept& attached, std::int64_t share, const ShareLoss& loss) const;
  std::vector<torch::Tensor> trained(const AttachedConcept& attached) const;
  std::vector<Result> run_all(std::int64_t shares, const ShareLoss& loss);

  AttachedConcept& first_;
  std::vector<std::unique_ptr<AttachedConcept>> replicas_;
  std::unique_ptr<Workers> workers_;  ///< None for a single thread.
};

}  // namespace mos::tune
