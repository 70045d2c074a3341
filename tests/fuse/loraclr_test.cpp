#include <gtest/gtest.h>
#include <torch/autograd.h>

#include <cmath>

#include "tests/fuse/layer_problem.h"

/// LoRACLR against its loss by automatic differentiation and Adam by hand.
namespace {

using mos::Json;
using mos::tiny::Layer;
using mos::tiny::random_lora;
using torch::Tensor;

/// LoRACLR's loss of the weight [O,I], on all rows, by automatic differentiation.
Tensor contrastive_loss(const Layer& layer, const Tensor& weight, double margin) {
  const auto& base = layer.problem().weight;
  std::vector<Tensor> put_out, wanted;
  for (std::size_t i = 0; i < layer.inputs().size(); ++i) {
    put_out.push_back(torch::matmul(layer.inputs()[i], weight.t()));
    wanted.push_back(torch::matmul(layer.inputs()[i], (base + layer.delta(i)).t()));
  }
  auto loss = 0.1 * torch::mse_loss(torch::stack(put_out), torch::stack(wanted));
  for (std::size_t i = 0; i < put_out.size(); ++i) {
    std::vector<Tensor> others;
    for (std::size_t j = 0; j < wanted.size(); ++j) {
      if (j != i) others.push_back((put_out[i] - wanted[j]).norm());
    }
    const auto own = (put_out[i] - wanted[i]).square().sum();
    const auto push = torch::relu(margin - torch::stack(others).min()).square();
    loss = loss + (own + push) / static_cast<double>(put_out.size());
  }
  return loss;
}

TEST(Loraclr, FollowsTheContrastiveLossOfItsPaper) {
  Layer layer({random_lora(1), random_lora(2), random_lora(3)}, 6);
  layer.problem().weights.assign(3, 1.0 / 3.0);
  constexpr double kMargin = 40.0, kRate = 1e-2;  // some of the distances are below that margin
  constexpr std::int64_t kIterations = 6;
  const auto& base = layer.problem().weight;
  const auto start = (layer.delta(0) + layer.delta(1) + layer.delta(2)) / 3.0;
  // Adam by hand, beside the optimiser of LibTorch that the method has.
  auto offset = torch::zeros_like(start), mean = torch::zeros_like(start),
       square = torch::zeros_like(start), best = start.clone();
  double lowest = 1e300;
  for (std::int64_t step = 1; step <= kIterations; ++step) {
    auto leaf = offset.detach().clone().requires_grad_();
    const auto length = step == 1 ? torch::zeros({}, torch::kFloat64) : leaf.norm();
    const auto loss = contrastive_loss(layer, base + start + leaf, kMargin) + 1e-3 * length;
    if (loss.item<double>() < lowest) {
      lowest = loss.item<double>();
      best = (start + leaf).detach().clone();
    }
    const auto gradient = torch::autograd::grad({loss}, {leaf}).front();
    mean = 0.9 * mean + 0.1 * gradient;
    square = 0.999 * square + 0.001 * gradient.square();
    const double n = static_cast<double>(step);
    const auto direction =
        mean / (1.0 - std::pow(0.9, n)) / ((square / (1.0 - std::pow(0.999, n))).sqrt() + 1e-8);
    offset = (1.0 - kRate * 1e-4) * offset - kRate * direction;
  }
  const Json options = {{"iterations", kIterations}, {"rate", kRate}, {"margin", kMargin}};
  EXPECT_FALSE(torch::allclose(best, start));
  EXPECT_TRUE(torch::allclose(layer.merged("loraclr", options), best, 1e-7, 1e-7));
}

}  // namespace
