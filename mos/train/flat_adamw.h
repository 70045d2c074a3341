#pragma once

#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "mos/io/state_dict.h"

namespace torch::nn {
class Module;
}

namespace mos::train {

struct Update;

struct FlatAdamWOptions {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0.01;  ///< Of matrices and kernels; vectors are not decayed.
  double max_norm = 1.0;       ///< The gradient is scaled down to this norm; 0: never.
  double average = 0.999;      ///< Decay of the running average of the parameters.
  /// kBFloat16: the module computes with rounded copies of the float32 values and leaves bfloat16
  /// gradients.
  torch::ScalarType working_dtype = torch::kFloat32;
  /// Whether the passes over the memory are this file's own or LibTorch's operators, which is what
  /// other devices than the CPU have.
  enum class Passes { kOwn, kOperators } passes = Passes::kOwn;
  /// Names of the matrices and kernels that Muon updates instead (muon.h); empty: none.
  std::function<bool(const std::string&)> muon;
};

/// AdamW (Loshchilov & Hutter 2019, as torch::optim::AdamW) with gradient clipping and a running
/// average of the parameters, in one pass over flat memory on the module's device. The module's
/// parameters and gradients become views of that memory, so `module` must outlive this object.
class FlatAdamW {
 public:
  /// Trains the parameters of `module` whose names `trained` accepts; empty: all. The others stop
  /// requiring gradients.
  FlatAdamW(torch::nn::Module& module, const FlatAdamWOptions& options,
            const std::function<bool(const std::string&)>& trained = {});

  /// Makes the parameters of `module`, of the same names and shapes as the first one's, views of
  /// the same values with gradients of their own: another thread can run it on its share of a
  /// batch.
  void add_replica(torch::nn::Module& module);

  /// One update from the sum of the gradients that backward() has left in the module and its
  /// replicas, which are zero afterwards.
  /// Returns the norm of the gradient before clipping.
  double step(double learning_rate);

  std::int64_t steps() const { return steps_; }

  /// Everything a resumed run needs: "value/…", "moment1/…", "moment2/…", "average/…" by parameter
  /// name. The tensors alias the optimiser.
  io::StateDict state() const;
  /// The part of it whose names start with `prefix`, without it.
  io::StateDict state_of(const std::string& prefix) const;
  /// Throws mos::Error(kMismatch) unless `state` is of the same parameters.
  void load_state(const io::StateDict& state, std::int64_t steps);

  /// Exchanges the parameters with their running averages; a second call undoes it.
  void swap_average();

 private:
  struct Segment {
    std::string name;
    std::int64_t begin = 0;
    std::vector<std::int64_t> shape;
    bool decays = false;
    bool muon = false;
    std::int64_t size() const;
    torch::Tensor of(const torch::Tensor& flat) const;  ///< Its view of a flat tensor.
  };

  double gather_gradients();
  void update(const Segment& segment, double learning_rate, double gradient_scale);
  void update_by_muon(const Segment& segment, double learning_rate, double gradient_scale);
  void update_by_operators(const Segment& segment, const Update& update);
  /// Average and working copy of new values; the gradient becomes zero.
  void finish_update(const Segment& segment, double average);

  FlatAdamWOptions options_;
  std::vector<Segment> segments_;
  torch::Tensor values_, working_, gradients_, moment1_, moment2_, average_;
  std::vector<torch::Tensor> replica_gradients_;
  std::int64_t steps_ = 0;
};

/// The module uses the averaged parameters while this object lives.
class ScopedAverage {
 public:
  explicit ScopedAverage(FlatAdamW& optimizer) : optimizer_(optimizer) {
    optimizer_.swap_average();
  }
  ~ScopedAverage() { optimizer_.swap_average(); }
  ScopedAverage(const ScopedAverage&) = delete;
  ScopedAverage& operator=(const ScopedAverage&) = delete;

 private:
  FlatAdamW& optimizer_;
};

}  // namespace mos::train
