#pragma once

#include <gtest/gtest.h>
#include <torch/types.h>

#include <functional>
#include <vector>

#include "mos/nn/kernels/cpu_features.h"

/// Comparison of an operator, values and gradients, with the same computation in float64.
namespace mos::nn {

using torch::Tensor;
using TensorList = std::vector<Tensor>;
using Op = std::function<Tensor(const TensorList&)>;

inline double relative_error(const Tensor& actual, const Tensor& expected) {
  const Tensor wide = expected.to(at::kDouble);
  return ((actual.to(at::kDouble) - wide).norm() / (wide.norm() + 1e-12)).item<double>();
}

/// float32 is summed in different orders, bfloat16 results and gradients are rounded to 8 bits, and
/// LibTorch 2's vectorised erf is right to 1.5e-7, which 1 + erf(x) magnifies for x < 0. LibTorch
/// 1.13 adds up products of fewer than 16³ numbers in bfloat16 where the processor has it.
inline double tolerance(at::ScalarType dtype) {
  if (dtype != at::kBFloat16) return 2e-5;
  return kernels::bfloat16_native() ? 1.5e-2 : 5e-3;
}

/// A leaf with the strides of `value`.
inline Tensor leaf(const Tensor& value) { return value.detach().requires_grad_(true); }

/// Values and gradients of `actual` on `inputs` against `reference` on the same numbers in float64.
inline void expect_same(const Op& actual, const Op& reference, const TensorList& inputs,
                        double bound) {
  at::manual_seed(17);
  TensorList ours;
  TensorList exact;
  for (const Tensor& input : inputs) {
    ours.push_back(leaf(input));
    exact.push_back(leaf(input.to(at::kDouble)));
  }
  const Tensor y = actual(ours);
  const Tensor expected = reference(exact);
  ASSERT_EQ(y.sizes(), expected.sizes());
  EXPECT_EQ(y.scalar_type(), inputs[0].scalar_type());
  EXPECT_LT(relative_error(y, expected), bound) << "value";

  const Tensor dy = at::randn(y.sizes(), y.options().dtype(at::kFloat)).to(y.scalar_type());
  y.backward(dy);
  expected.backward(dy.to(at::kDouble));
  for (size_t i = 0; i < inputs.size(); ++i) {
    ASSERT_TRUE(ours[i].grad().defined()) << "input " << i;
    EXPECT_EQ(ours[i].grad().scalar_type(), inputs[i].scalar_type());
    EXPECT_LT(relative_error(ours[i].grad(), exact[i].grad()), bound) << "gradient of input " << i;
  }
}

/// Whichever of `inputs` learn, they have the gradients that they have when all learn, and the
/// others have none.
inline void expect_gradients_of_those_that_learn(const Op& op, const TensorList& inputs) {
  const Tensor dy = at::randn_like(op(inputs));
  const unsigned all = (1U << inputs.size()) - 1;
  const auto gradients = [&](unsigned who) {
    TensorList learning, result;
    for (size_t i = 0; i < inputs.size(); ++i) {
      learning.push_back(inputs[i].clone().requires_grad_((who >> i & 1U) != 0));
    }
    op(learning).backward(dy);
    for (const Tensor& input : learning) result.push_back(input.grad());
    return result;
  };
  const auto expected = gradients(all);
  for (unsigned who = 1; who < all; ++who) {
    const auto some = gradients(who);
    for (size_t i = 0; i < some.size(); ++i) {
      const bool learns = (who >> i & 1U) != 0;
      ASSERT_EQ(some[i].defined(), learns) << who << " " << i;
      if (!learns) continue;
      EXPECT_LT(relative_error(some[i], expected[i]), 1e-3) << who << " " << i;
    }
  }
}

}  // namespace mos::nn
