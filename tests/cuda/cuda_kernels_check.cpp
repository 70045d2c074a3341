#include <ATen/Context.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <cstdio>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "mos/nn/kernels/cuda/fused.h"
#include "mos/nn/kernels/portable.h"
#include "mos/nn/ops.h"
#include "tests/cuda/timing.h"

// cuda_kernels_check [--bench]: every function of mos/nn/ops.h that has CUDA kernels, forward and
// all gradients, against ATen in float64 on the CPU; exits with 1 if one is off. ATen fills what it
// allocates with NaN meanwhile, so that nothing unwritten passes. --bench times them instead.

namespace {

namespace nn = mos::nn;
namespace cuda = mos::nn::kernels::cuda;
namespace portable = mos::nn::kernels::portable;
using nn::Activation;
using torch::Tensor;
using TensorList = std::vector<Tensor>;
using Op = std::function<Tensor(const TensorList&)>;
using Sizes = std::vector<int64_t>;

/// One operator on one input; `exact` is its composition of ATen's.
struct Case {
  std::string name;
  TensorList inputs;
  Op ours, exact;
  bool covered;  ///< By our kernels; if not, ATen is called for both.
};

torch::Device device() { return at::hasCUDA() ? torch::kCUDA : torch::kCPU; }

std::string words(const Tensor& x) {
  return fmt::format("{} {}", fmt::join(x.sizes(), "x"), torch::toString(x.scalar_type()));
}

/// x [B,C,...] of `type`, away from 0 on the whole.
Tensor random_input(const Sizes& sizes, at::ScalarType type, double mean = 0.5) {
  return (at::randn(sizes) + mean).to(type).to(device());
}

Tensor random_weight(int64_t size, at::ScalarType type, double mean) {
  return (0.3 * at::randn({size}) + mean).to(type).to(device());
}

Tensor channels_last(const Tensor& x) { return x.movedim(1, -1).contiguous().movedim(-1, 1); }

struct Norm {
  Tensor x;
  int64_t groups;
  Activation activation;
  at::ScalarType weights;
};

Case group_norm_case(const Norm& norm) {
  const auto [x, groups, activation, weights] = norm;
  const int64_t channels = x.size(1);
  constexpr double kEps = 1e-5;
  const TensorList inputs = {x, random_weight(channels, weights, 1.0),
                             random_weight(channels, weights, 0.0)};
  return {fmt::format("group_norm {} of {}{}{}{}", groups, words(x),
                      x.is_contiguous() ? "" : " channels last",
                      activation == Activation::kSilu ? ", SiLU" : "",
                      weights == at::kFloat ? ", float weights" : ""),
          inputs,
          [=](const TensorList& in) {
            return nn::group_norm(in[0], groups, in[1], in[2], kEps, activation);
          },
          [=](const TensorList& in) {
            return portable::group_norm(in[0], groups, in[1], in[2], kEps, activation);
          },
          cuda::group_norm_applies(x, groups, inputs[1], inputs[2])};
}

Case layer_norm_case(const Tensor& x, at::ScalarType weights) {
  constexpr double kEps = 1e-5;
  const TensorList inputs = {x, random_weight(x.size(-1), weights, 1.0),
                             random_weight(x.size(-1), weights, 0.0)};
  return {fmt::format("layer_norm {}{}", words(x), weights == at::kFloat ? ", float weights" : ""),
          inputs, [=](const TensorList& in) { return nn::layer_norm(in[0], in[1], in[2], kEps); },
          [=](const TensorList& in) { return portable::layer_norm(in[0], in[1], in[2], kEps); },
          cuda::layer_norm_applies(x, inputs[1], inputs[2])};
}

using Unary = Tensor (*)(const Tensor&);

Case unary_case(const std::string& name, const Tensor& x, Unary ours, Unary exact) {
  return {fmt::format("{} {}{}", name, words(x), x.is_contiguous() ? "" : " strided"),
          {x},
          [=](const TensorList& in) { return ours(in[0]); },
          [=](const TensorList& in) { return exact(in[0]); },
          name == "geglu" ? cuda::geglu_applies(x) : cuda::pointwise_applies(x)};
}

void add_pointwise(const Tensor& x, std::vector<Case>& cases) {
  cases.push_back(unary_case("silu", x, nn::silu, portable::silu));
  cases.push_back(unary_case("quick_gelu", x, nn::quick_gelu, portable::quick_gelu));
  cases.push_back(unary_case("gelu", x, nn::gelu, portable::gelu));
}

/// y and the gradients of the inputs.
TensorList results_of(const Op& op, const TensorList& inputs, const Tensor& dy) {
  TensorList leaves;
  for (const Tensor& input : inputs) leaves.push_back(input.detach().requires_grad_(true));
  const Tensor y = op(leaves);
  TensorList results = torch::autograd::grad({y}, leaves, {dy});
  results.insert(results.begin(), y.detach());
  return results;
}

TensorList in_double(const TensorList& tensors) {
  TensorList result;
  for (const Tensor& x : tensors) {
    result.push_back(x.detach().to(at::kCPU).to(at::kDouble).contiguous());
  }
  return result;
}

/// How far off `x` may be from its exact value, of the root of its mean square.
double tolerance(const Tensor& x) {
  if (x.scalar_type() == at::kBFloat16) return 3e-3;
  return x.scalar_type() == at::kHalf ? 6e-4 : 5e-5;
}

/// What a value is at least taken for: smaller ones of float16 have fewer digits than tolerance()
/// wants.
double smallest(const Tensor& x) { return x.scalar_type() == at::kHalf ? 1e-4 : 1e-9; }

/// Whether all results are right; says so.
bool check(const Case& one, bool last) {
  const Tensor like = one.ours(one.inputs);
  Tensor dy = at::randn(like.sizes()).to(like.scalar_type()).to(device());
  if (last) dy = at::empty_like(like).copy_(dy);
  const TensorList found = results_of(one.ours, one.inputs, dy);
  const TensorList exact = results_of(one.exact, in_double(one.inputs), in_double({dy}).front());
  constexpr double kOfAten = 3e-2;  // rounds several times
  bool right = true;
  std::string errors;
  for (size_t i = 0; i < found.size(); ++i) {
    const Tensor difference = in_double({found[i]}).front() - exact[i];
    const double scale = exact[i].square().mean().sqrt().item<double>() + smallest(found[i]);
    const double mean = difference.square().mean().sqrt().item<double>() / scale;
    const double most = difference.abs().max().item<double>() /
                        (exact[i].abs().max().item<double>() + smallest(found[i]));
    const double bound = one.covered ? tolerance(found[i]) : kOfAten;
    const bool fits = mean <= bound && most <= 2 * bound;  // not so of NaN
    const bool alike = i > 1 || found[i].scalar_type() == one.inputs[0].scalar_type();
    const bool typed = i == 0 || found[i].scalar_type() == one.inputs[i - 1].scalar_type();
    right = right && fits && alike && typed && found[i].sizes() == exact[i].sizes();
    errors += fmt::format(" {:.1e}/{:.1e}", mean, most);
  }
  const TensorList again = results_of(one.ours, one.inputs, dy);
  for (size_t i = 0; one.covered && i < found.size(); ++i) {
    if (!again[i].equal(found[i])) {
      errors += " differs when repeated";
      right = false;
    }
  }
  fmt::print("{} {}{}:{}\n", right ? "ok  " : "FAIL", one.name, one.covered ? "" : " (ATen)",
             errors);
  std::fflush(stdout);
  return right;
}

std::vector<Case> group_norm_cases(at::ScalarType type) {
  struct Shape {
    Sizes sizes;
    int64_t groups;
  };
  const std::vector<Shape> shapes = {{{3, 64, 16, 16}, 32},
                                     {{2, 64, 16, 48}, 32},
                                     {{5, 128, 8, 8}, 32},
                                     {{4, 192, 4, 4}, 32},
                                     {{3, 192, 16, 16}, 32},
                                     {{2, 320, 4, 12}, 32},
                                     {{130, 64, 4, 4}, 32},
                                     {{2, 320, 24, 24}, 32},
                                     {{1, 320, 64, 64}, 32},
                                     {{2, 1280, 8, 8}, 32},
                                     {{1, 1280, 16, 16}, 32},
                                     {{1, 2560, 8, 8}, 32},
                                     {{1, 128, 96, 88}, 32},
                                     {{2, 30, 7, 9}, 5},
                                     {{3, 20, 1, 1}, 4},
                                     {{2, 64, 1, 1}, 32},
                                     {{2, 36, 5, 5}, 36},
                                     {{1, 8, 3, 3}, 1},
                                     {{2, 48, 100}, 6},
                                     {{2, 33, 37}, 11},
                                     {{2, 512, 64}, 32},
                                     {{1, 7, 129, 131}, 1},
                                     {{2, 64}, 8},
                                     {{1, 1000, 3, 3}, 10}};
  std::vector<Case> cases;
  bool turn = false;
  for (const Shape& shape : shapes) {
    for (const auto activation : {Activation::kNone, Activation::kSilu}) {
      const Tensor x = random_input(shape.sizes, type);
      const auto weights = (turn = !turn) ? type : at::kFloat;
      cases.push_back(group_norm_case({x, shape.groups, activation, weights}));
      cases.push_back(group_norm_case({channels_last(x), shape.groups, activation, weights}));
    }
  }
  const Tensor far = channels_last(random_input({2, 64, 16, 16}, type, 50.0));
  cases.push_back(group_norm_case({far, 32, Activation::kNone, at::kFloat}));
  cases.push_back(group_norm_case({far.contiguous(), 32, Activation::kNone, at::kFloat}));
  const Tensor wide = channels_last(random_input({2, 128, 8, 8}, type));
  cases.push_back(group_norm_case({wide.narrow(1, 0, 64), 32, Activation::kSilu, type}));
  cases.push_back(group_norm_case({wide.narrow(3, 1, 5), 32, Activation::kSilu, type}));
  return cases;
}

std::vector<Case> other_cases(at::ScalarType type) {
  std::vector<Case> cases;
  for (const Sizes& sizes : std::vector<Sizes>{{3, 256, 64},
                                               {5, 64, 128},
                                               {7, 16, 192},
                                               {2, 77, 320},
                                               {1, 65, 640},
                                               {2, 33, 768},
                                               {3, 17, 1024},
                                               {1, 40, 1280},
                                               {9, 8},
                                               {13, 16},
                                               {1, 24},
                                               {700, 40},
                                               {5000, 64},
                                               {3000, 192},
                                               {4, 50},
                                               {3, 1288}}) {
    for (const auto weights : {type, at::kFloat}) {
      cases.push_back(layer_norm_case(random_input(sizes, type), weights));
    }
  }
  cases.push_back(layer_norm_case(random_input({4, 64, 128}, type, 30.0), at::kFloat));
  cases.push_back(layer_norm_case(random_input({4, 64, 16}, type).transpose(1, 2), type));
  for (const Sizes& sizes : std::vector<Sizes>{
           {3, 256, 512}, {2, 64, 1024}, {5, 16, 1536}, {1, 7, 2560}, {3, 16}, {2, 34}, {11, 48}}) {
    cases.push_back(unary_case("geglu", 2 * random_input(sizes, type), nn::geglu, portable::geglu));
  }
  for (const Sizes& sizes : std::vector<Sizes>{{3, 64, 16, 16}, {1}, {7}, {8}, {129}, {5, 1027}}) {
    add_pointwise(3 * random_input(sizes, type, 0.0), cases);
  }
  const Tensor image = random_input({2, 24, 5, 7}, type);
  add_pointwise(channels_last(image), cases);
  add_pointwise(image.narrow(1, 1, 3), cases);
  add_pointwise(image.flatten().narrow(0, 3, 1000), cases);
  return cases;
}

int check_all() {
  at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/true);
  int wrong = 0, count = 0;
  for (const auto type : {at::kBFloat16, at::kHalf}) {
    torch::manual_seed(7);
    auto cases = group_norm_cases(type);
    for (auto& other : other_cases(type)) cases.push_back(std::move(other));
    for (const Case& one : cases) wrong += check(one, count++ % 2 == 0) ? 0 : 1;
  }
  fmt::print("{} of {} are wrong\n", wrong, count);
  return wrong == 0 ? 0 : 1;
}

void time_case(const Case& one) {
  TensorList leaves;
  for (const Tensor& input : one.inputs) leaves.push_back(input.detach().requires_grad_(true));
  const Tensor dy = at::empty_like(one.ours(one.inputs)).normal_();
  std::string line = fmt::format("{:70}", one.name);
  for (const Op* op : {&one.ours, &one.exact}) {
    const double forward = milliseconds_of([&] { (*op)(one.inputs); });
    const double both =
        milliseconds_of([&] { torch::autograd::grad({(*op)(leaves)}, leaves, {dy}); });
    line += fmt::format(" {:8.1f} {:8.1f}", 1e3 * forward, 1e3 * both);
  }
  fmt::print("{}\n", line);
  std::fflush(stdout);
}

void time_all() {
  fmt::print("{:70} {:>8} {:>8} {:>8} {:>8}   (microseconds)\n", "", "ours", "+ back", "ATen",
             "+ back");
  const auto type = at::kBFloat16;
  const std::vector<Sizes> images = {{768, 64, 16, 16}, {768, 128, 16, 16}, {768, 192, 16, 16},
                                     {768, 128, 8, 8},  {768, 256, 8, 8},   {768, 192, 4, 4},
                                     {768, 384, 4, 4},  {256, 64, 16, 48},  {16, 64, 16, 16},
                                     {2, 320, 64, 64},  {2, 1280, 16, 16},  {2, 2560, 8, 8},
                                     {1, 512, 64, 64},  {1, 128, 512, 512}};
  for (const Sizes& sizes : images) {
    const Tensor x = random_input(sizes, type);
    time_case(group_norm_case({channels_last(x), 32, Activation::kSilu, type}));
    time_case(group_norm_case({x, 32, Activation::kSilu, type}));
  }
  for (const Sizes& sizes : std::vector<Sizes>{{768, 256, 64},
                                               {768, 64, 128},
                                               {768, 16, 192},
                                               {2, 4096, 320},
                                               {2, 1024, 640},
                                               {2, 256, 1280}}) {
    time_case(layer_norm_case(random_input(sizes, type), type));
    const Tensor x = random_input({sizes[0], sizes[1], 8 * sizes[2]}, type);
    time_case(unary_case("geglu", x, nn::geglu, portable::geglu));
  }
  time_case(unary_case("silu", random_input({768, 64, 16, 16}, type), nn::silu, portable::silu));
  time_case(unary_case("silu", random_input({768, 256}, type), nn::silu, portable::silu));
}

}  // namespace

int main(int count, char** arguments) {
  if (count > 1 && std::string_view(arguments[1]) == "--bench") {
    time_all();
    return 0;
  }
  return check_all();
}
