#include <gmock/gmock.h>

#include <cmath>

#include "mos/nn/kernels/cpu_features.h"
#include "mos/nn/ops.h"
#include "mos/nn/unet.h"
#include "tests/nn/compare.h"
#include "tests/nn/definitions.h"
#include "tests/nn/small_unet.h"

// What reduced precision may change and what it may not, and how operators refuse sizes that their
// kernels would read beyond.

namespace mos::nn {
namespace {

/// Wide enough for every fused kernel: channels in multiples of 16.
UNetConfig fusible_unet() {
  auto config = test::small_unet(16);
  config.block_out_channels = {32, 64};
  config.norm_num_groups = 8;
  return config;
}

struct Step {
  Tensor output;
  std::map<std::string, Tensor> gradients;
};

/// One step of training: the output and the gradient of every parameter.
Step step_of(UNet2DConditionModel& unet, torch::ScalarType dtype) {
  auto generator = seeded_generator(71);
  const auto sample = randn({2, 4, 8, 8}, generator).to(dtype);
  const auto text = randn({2, 5, 16}, generator).to(dtype);
  const auto target = randn({2, 4, 8, 8}, generator);
  unet->zero_grad();
  Step step;
  step.output = unet(sample, torch::full({1}, 400, torch::kInt64), text).to(torch::kFloat32);
  (step.output - target).square().mean().backward();
  step.output = step.output.detach();
  for (const auto& item : unet->named_parameters()) {
    step.gradients[item.key()] = item.value().grad().to(torch::kFloat32).clone();
  }
  return step;
}

TEST(FusedEngine, LearnsWhatTheOtherLearns) {
  UNet2DConditionModel unet(fusible_unet());
  test::randomise(*unet, 70);
  unet->to(torch::kBFloat16);
  const auto plain = step_of(unet, torch::kBFloat16);
  use_engine(*unet, Engine::kFused);
  const auto fused = step_of(unet, torch::kBFloat16);
  EXPECT_LT(relative_error(fused.output, plain.output), 3e-2);  // roundings of some thirty layers
  for (const auto& [name, gradient] : plain.gradients) {
    const auto& other = fused.gradients.at(name);
    const auto cosine = (gradient * other).sum() / (gradient.norm() * other.norm() + 1e-20);
    EXPECT_GT(cosine.item<double>(), 0.99) << name;
    EXPECT_NEAR((other.norm() / (gradient.norm() + 1e-20)).item<double>(), 1.0, 0.1) << name;
  }
}

TEST(Bfloat16, GradientsOfFloat32WeightsAreFloat32AndPointTheSameWay) {
  UNet2DConditionModel unet(fusible_unet());
  test::randomise(*unet, 70);
  const auto exact = step_of(unet, torch::kFloat32);
  const auto rounded = step_of(unet, torch::kBFloat16);
  EXPECT_LT(relative_error(rounded.output, exact.output), 5e-2);
  for (const auto& item : unet->named_parameters()) {
    EXPECT_EQ(item.value().grad().scalar_type(), torch::kFloat32) << item.key();
  }
  double agreement = 0.0;
  for (const auto& [name, gradient] : exact.gradients) {
    const auto& other = rounded.gradients.at(name);
    agreement +=
        ((gradient * other).sum() / (gradient.norm() * other.norm() + 1e-20)).item<double>();
  }
  EXPECT_GT(agreement / static_cast<double>(exact.gradients.size()), 0.98);
}

TEST(HalfPrecision, OnACpuIsComputedInFloat32AndRoundedOnce) {
  at::manual_seed(72);
  const auto x = at::randn({2, 6, 32}).to(at::kHalf);
  const auto weight = at::randn({32}), bias = at::randn({32});
  const auto rounded = [](const Tensor& y) { return y.to(at::kHalf); };
  const auto wide = x.to(at::kFloat);
  EXPECT_TRUE(
      at::equal(layer_norm(x, weight, bias, 1e-5), rounded(layer_norm(wide, weight, bias, 1e-5))));
  EXPECT_TRUE(at::equal(nn::silu(x), rounded(nn::silu(wide))));
  EXPECT_TRUE(at::equal(nn::gelu(x), rounded(nn::gelu(wide))));
  EXPECT_TRUE(at::equal(quick_gelu(x), rounded(quick_gelu(wide))));
  EXPECT_TRUE(at::equal(geglu(x), rounded(geglu(wide))));
  EXPECT_TRUE(at::equal(group_norm(x, 3, at::ones({6}), at::zeros({6}), 1e-5),
                        rounded(group_norm(wide, 3, at::ones({6}), at::zeros({6}), 1e-5))));
  const auto heads = x.view({2, 6, 2, 16}).transpose(1, 2);
  EXPECT_TRUE(at::equal(
      nn::attention(heads, heads, heads),
      rounded(nn::attention(heads.to(at::kFloat), heads.to(at::kFloat), heads.to(at::kFloat)))));
}

TEST(OperatorSizes, ThatDoNotFitAreRefusedBeforeAKernelReads) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const auto of = [dtype](at::IntArrayRef shape) { return at::ones(shape, at::dtype(dtype)); };
    const auto q = of({2, 3, 4, 8});
    EXPECT_THROW(nn::attention(q, of({1, 3, 4, 8}), of({1, 3, 4, 8})), c10::Error);  // batch
    EXPECT_THROW(nn::attention(q, of({2, 2, 4, 8}), of({2, 2, 4, 8})), c10::Error);  // heads
    EXPECT_THROW(nn::attention(q, of({2, 3, 5, 8}), of({2, 3, 4, 8})), c10::Error);  // values
    EXPECT_THROW(nn::attention(of({3, 4, 8}), of({3, 4, 8}), of({3, 4, 8})), c10::Error);
    EXPECT_THROW(geglu(of({2, 7})), c10::Error);
    EXPECT_THROW(group_norm(of({2, 6, 4}), 4, at::ones({6}), at::ones({6}), 1e-5), c10::Error);
    EXPECT_THROW(group_norm(of({2, 6, 4}), 0, at::ones({6}), at::ones({6}), 1e-5), c10::Error);
    EXPECT_THROW(group_norm(of({6}), 1, at::ones({6}), at::ones({6}), 1e-5), c10::Error);
  }
}

TEST(CpuFeatures, TilesAreOnlyUsedWhereVectorsAre) {
  EXPECT_TRUE(kernels::avx512_available() || !kernels::amx_available());
}

}  // namespace
}  // namespace mos::nn
