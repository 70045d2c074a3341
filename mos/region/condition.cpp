#include "mos/region/condition.h"

#include <fmt/core.h>

#include <cmath>
#include <memory>
#include <utility>

#include "mos/base/error.h"
#include "mos/io/image.h"
#include "mos/region/aspect.h"
#include "mos/region/span.h"

namespace mos::region {

using torch::Tensor;

namespace {

/// Pillow's convert("L"): the weights of ITU-R 601 in 16 bits. [H,W,3] -> [H,W,1], bytes.
Tensor grey(const Tensor& rgb) {
  const auto luma = torch::tensor({19595, 38470, 7471}, torch::kInt32);
  const auto sum = (rgb.to(torch::kInt32) * luma).sum(2, /*keepdim=*/true, torch::kInt32);
  return at::bitwise_right_shift(sum + (1 << 15), 16).to(torch::kUInt8);
}

Tensor weighted(const Tensor& features, const Condition& condition) {
  if (condition.boxes.empty()) return features * condition.weight;
  const auto map = weight_map(condition, features.size(2), features.size(3));
  return features * map.to(features.options());
}

void add_to(Tensor& sum, const Tensor& more) { sum = sum.defined() ? sum + more : more; }

void add_all(std::vector<Tensor>& sums, const std::vector<Tensor>& more) {
  sums.resize(more.size());
  for (std::size_t i = 0; i < more.size(); ++i) add_to(sums[i], more[i]);
}

/// One condition in a run of sampling.
class Source {
 public:
  explicit Source(LoadedCondition loaded) : loaded_(std::move(loaded)) {
    torch::NoGradGuard no_grad;
    if (auto* t2i = std::get_if<nn::T2IAdapter>(&loaded_.adapter)) {
      for (const auto& level : (*t2i)(as_input(*t2i))) {
        features_.push_back(weighted(level, loaded_.condition));
      }
    } else {
      auto& controlnet = std::get<nn::ControlNetModel>(loaded_.adapter);
      picture_ = controlnet->embed_picture(as_input(controlnet));
    }
  }

  void add(nn::UNetResiduals& residuals, const diffusion::NetworkCall& call) {
    const Span span{loaded_.condition.start, loaded_.condition.end};
    if (!lies_in(span, call.index, call.total)) return;
    if (picture_.defined()) {
      add_control(residuals, call);
    } else {
      add_all(residuals.adapter, features_);
    }
  }

 private:
  /// The picture in the dtype and on the device of the network.
  template <typename Network>
  Tensor as_input(const Network& network) const {
    const auto weight = network->parameters().front();
    return loaded_.picture.to(weight.options().dtype(nn::working_dtype(weight)));
  }

  void add_control(nn::UNetResiduals& residuals, const diffusion::NetworkCall& call) {
    auto& controlnet = std::get<nn::ControlNetModel>(loaded_.adapter);
    const auto& condition = loaded_.condition;
    // Only the half with the prompt is steered, so that guidance strengthens it: in guess mode, and
    // by a ControlNet without places (diffusers' pipeline treats both alike).
    const bool placeless = controlnet->config().global_pool_conditions;
    const bool half = (condition.guess_mode || placeless) && call.has_both_halves;
    const auto pictures = call.input.size(0) / 2;
    const auto input = half ? call.input.narrow(0, pictures, pictures) : call.input;
    const auto text = half ? call.text.narrow(pictures, pictures) : call.text;
    const auto output =
        controlnet(input, call.timestep, text, picture_.to(call.input.scalar_type()));
    const auto scales =
        nn::control_scales(output.down.size(), 1.0, condition.guess_mode && !placeless);
    const auto finish = [&](const Tensor& features, double scale) {
      const auto steered = weighted(features, condition) * scale;
      return half ? torch::cat({torch::zeros_like(steered), steered}) : steered;
    };
    std::vector<Tensor> down;
    for (std::size_t i = 0; i < output.down.size(); ++i) {
      down.push_back(finish(output.down[i], scales[i]));
    }
    add_all(residuals.control_down, down);
    add_to(residuals.control_mid, finish(output.mid, scales.back()));
  }

  LoadedCondition loaded_;
  std::vector<Tensor> features_;  ///< Of a T2I-Adapter, weighted.
  Tensor picture_;                ///< Of a ControlNet, embedded.
};

}  // namespace

Tensor condition_picture(const Tensor& picture, std::int64_t channels, Canvas canvas,
                         const std::string& origin) {
  check_aspect(picture, canvas, "the condition picture " + origin);
  auto pixels = io::to_rgb(picture);
  if (channels == 1) pixels = grey(pixels);
  const bool fits = picture.size(0) == canvas.height && picture.size(1) == canvas.width;
  if (!fits) pixels = io::resize_lanczos(pixels, canvas.height, canvas.width);
  return pixels.permute({2, 0, 1}).unsqueeze(0).to(torch::kFloat32) / 255.0;
}

LoadedCondition load_condition(const Condition& condition, const diffusion::Model& model,
                               Canvas canvas) {
  auto adapter = diffusion::load_adapter(condition.adapter, model);
  auto picture = condition_picture(io::read_image(condition.picture).pixels,
                                   diffusion::picture_channels(adapter), canvas, condition.picture);
  return {std::move(adapter), std::move(picture), condition};
}

Tensor weight_map(const Condition& condition, std::int64_t height, std::int64_t width) {
  auto map = torch::full({1, 1, height, width}, condition.weight, torch::kFloat32);
  for (const auto& [box, weight] : condition.boxes) {
    const auto inside = on_features(box, height, width);
    if (inside.empty()) continue;
    map.slice(2, inside.top, inside.bottom).slice(3, inside.left, inside.right).fill_(weight);
  }
  return map;
}

diffusion::ResidualCallback residuals_of(std::vector<LoadedCondition> conditions) {
  if (conditions.empty()) return {};
  const auto sources = std::make_shared<std::vector<Source>>();
  for (auto& condition : conditions) sources->emplace_back(std::move(condition));
  return [sources](const diffusion::NetworkCall& call) {
    nn::UNetResiduals residuals;
    for (auto& source : *sources) source.add(residuals, call);
    return residuals;
  };
}

}  // namespace mos::region
