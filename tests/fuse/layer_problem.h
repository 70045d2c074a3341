#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "mos/base/random.h"
#include "mos/fuse/method.h"

/// Small layers to be merged, with inputs whose rows are at hand.
namespace mos::tiny {

inline constexpr std::int64_t kOutputs = 5;
inline constexpr std::int64_t kInputs = 8;

inline torch::Tensor random_f64(at::IntArrayRef shape, std::uint64_t seed) {
  auto generator = seeded_generator(seed);
  return randn(shape, generator).to(torch::kFloat64);
}

inline fuse::Update random_lora(std::uint64_t seed, std::int64_t rank = 2) {
  return {.up = random_f64({kOutputs, rank}, seed),
          .down = random_f64({rank, kInputs}, seed + 100)};
}

inline fuse::Update random_dense(std::uint64_t seed) {
  return {.dense = random_f64({kOutputs, kInputs}, seed)};
}

/// A problem and what it refers to.
class Layer {
 public:
  /// `rows` of inputs for each concept.
  explicit Layer(std::vector<fuse::Update> updates, std::int64_t rows = 30) {
    problem_.layer = "layer";
    problem_.weight = random_f64({kOutputs, kInputs}, 999);
    problem_.weights.assign(updates.size(), 1.0);
    for (std::size_t i = 0; i < updates.size(); ++i) {
      inputs_.push_back(random_f64({rows, kInputs}, 500 + i));
      fuse::InputGram gram(kInputs, /*kept_rows=*/rows);
      gram.add(inputs_.back());
      site_->add(gram);
    }
    captions_rows_ = random_f64({50, kInputs}, 800);
    captions_->add(captions_rows_);
    problem_.captions = captions_.get();
    problem_.updates = std::move(updates);
    problem_.inputs = site_.get();
  }

  fuse::LayerProblem& problem() { return problem_; }
  const fuse::LayerProblem& problem() const { return problem_; }
  /// X_i [rows,I].
  const std::vector<torch::Tensor>& inputs() const { return inputs_; }
  /// Text features of ordinary captions, [50,I].
  const torch::Tensor& captions() const { return captions_rows_; }
  /// Each concept's inputs once more, as the merged model sees them.
  void see_again(const std::vector<torch::Tensor>& again) {
    for (std::size_t i = 0; i < again.size(); ++i) {
      site_->set_again(i, {.again = torch::matmul(again[i].t(), again[i]),
                           .cross = torch::matmul(inputs_[i].t(), again[i])});
    }
  }
  /// ΔW_i, zeros for none.
  torch::Tensor delta(std::size_t i) const {
    const auto& update = problem_.updates[i];
    return update.empty() ? torch::zeros({kOutputs, kInputs}, torch::kFloat64) : update.matrix();
  }

  /// W − W0 as the method `name` has it with `options`.
  torch::Tensor merged(const std::string& name, const Json& options = Json::object()) const {
    const auto method = fuse::make_method(name, options);
    const auto update = method->merge(problem_).update;
    return update.empty() ? torch::zeros({kOutputs, kInputs}, torch::kFloat64) : update.matrix();
  }

 private:
  fuse::LayerProblem problem_;
  std::vector<torch::Tensor> inputs_;
  std::unique_ptr<fuse::GramStore> store_ = std::make_unique<fuse::GramStore>();
  torch::Tensor captions_rows_;
  std::unique_ptr<fuse::InputGram> captions_ = std::make_unique<fuse::InputGram>(kInputs);
  std::unique_ptr<fuse::SiteInputs> site_ =
      std::make_unique<fuse::SiteInputs>("site", kInputs, *store_);
};

}  // namespace mos::tiny
