#include "mos/diffusion/brownian_tree.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>

#include "mos/base/error.h"

namespace mos::diffusion {

using torch::Tensor;

namespace {

constexpr std::size_t kPool = 24;  // of torchsde's BrownianTree

/// The constants of O'Neill's seed_seq_fe.
constexpr std::uint32_t kInitA = 0x43b0d7e5, kMultA = 0x931e8875, kInitB = 0x8b51f9dd,
                        kMultB = 0x58f38ded, kMixLeft = 0xca01f9dd, kMixRight = 0x4973f715;

std::uint32_t folded(std::uint32_t value) { return value ^ (value >> 16); }

/// Each value is hashed with a constant of its own.
class Hash {
 public:
  std::uint32_t operator()(std::uint32_t value) {
    value ^= constant_;
    constant_ *= kMultA;
    return folded(value * constant_);
  }

 private:
  std::uint32_t constant_ = kInitA;
};

std::array<std::uint32_t, kPool> mixed_pool(const std::vector<std::uint32_t>& entropy) {
  std::array<std::uint32_t, kPool> pool{};
  Hash hash;
  const auto mix_in = [&](std::size_t to, std::uint32_t value) {
    pool[to] = folded(kMixLeft * pool[to] - kMixRight * hash(value));
  };
  for (std::size_t i = 0; i < kPool; ++i) pool[i] = hash(i < entropy.size() ? entropy[i] : 0);
  for (std::size_t from = 0; from < kPool; ++from) {
    for (std::size_t to = 0; to < kPool; ++to) {
      if (from != to) mix_in(to, pool[from]);
    }
  }
  for (std::size_t from = kPool; from < entropy.size(); ++from) {
    for (std::size_t to = 0; to < kPool; ++to) mix_in(to, entropy[from]);
  }
  return pool;
}

/// Six digits after the point, as Python rounds: to the nearest decimal of the exact value.
double rounded(double level) {
  return std::strtod(fmt::format("{:.6f}", level).c_str(), /*str_end=*/nullptr);
}

/// A part of the path between two levels, found by halving.
struct Interval {
  double start, end;
  std::uint32_t key = 0, depth = 0;  ///< Its place in the tree.
  Tensor increment;                  ///< W(end) − W(start)
};

}  // namespace

std::vector<std::uint32_t> seed_words(std::uint64_t entropy,
                                      std::span<const std::uint32_t> spawn_key, std::size_t count) {
  std::vector<std::uint32_t> words = {static_cast<std::uint32_t>(entropy)};
  if (entropy >> 32 != 0) words.push_back(static_cast<std::uint32_t>(entropy >> 32));
  if (!spawn_key.empty()) words.resize(kPool);
  words.insert(words.end(), spawn_key.begin(), spawn_key.end());
  const auto pool = mixed_pool(words);
  std::vector<std::uint32_t> state;
  std::uint32_t constant = kInitB;
  for (std::size_t i = 0; i < count; ++i) {
    const auto value = pool[i % kPool] ^ constant;
    constant *= kMultB;
    state.push_back(folded(value * constant));
  }
  return state;
}

BrownianTree::BrownianTree(std::uint64_t seed, std::pair<double, double> levels, Draw draw)
    : seed_(seed),
      low_(rounded(levels.first)),
      high_(rounded(levels.second)),
      draw_(std::move(draw)) {
  if (!(low_ < high_)) {
    throw Error(ErrorKind::kUsage,
                fmt::format("a Brownian path from {} to {} has no length", low_, high_));
  }
  whole_ = draw_(seed_words(seed, {}, 1)[0]) * std::sqrt(levels.second - levels.first);
}

Tensor BrownianTree::at(double level) const {
  const double wanted = std::clamp(rounded(level), low_, high_);
  Interval part{low_, high_, 0, 0, whole_};
  auto before = torch::zeros_like(whole_);  // W(part.start)
  while (wanted != part.start && wanted != part.end) {
    const double middle = rounded(0.5 * (part.start + part.end));
    const double left = middle - part.start, right = part.end - middle;
    const double share = 1.0 / (part.end - part.start);
    const std::uint32_t key[] = {part.key, part.depth};
    const auto noise = draw_(seed_words(seed_, key, 1)[0]);
    const auto first = (left * share) * part.increment + std::sqrt(left * right * share) * noise;
    if (wanted <= middle) {
      part = {part.start, middle, 2 * part.key, part.depth + 1, first};
    } else {
      before = before + first;
      part = {middle, part.end, 2 * part.key + 1, part.depth + 1, part.increment - first};
    }
  }
  return wanted == part.start ? before : before + part.increment;
}

namespace {

/// The paths of a batch, and where they stand: a step begins where the one before has ended.
class Paths {
 public:
  Paths(const NoiseSpan& span, std::vector<BrownianTree> trees)
      : low_(span.low), high_(span.high), trees_(std::move(trees)) {}

  bool are_of(const NoiseSpan& span) const { return low_ == span.low && high_ == span.high; }

  /// Of unit variance; downwards, as k-diffusion walks.
  Tensor over(const NoiseSpan& span) {
    const auto from = at(span.from);
    last_ = {span.to, at(span.to)};
    return (last_->second - from) / std::sqrt(span.from - span.to);
  }

 private:
  Tensor at(double level) const {
    if (last_ && last_->first == level) return last_->second;
    std::vector<Tensor> pictures;
    for (const auto& tree : trees_) pictures.push_back(tree.at(level));
    return torch::stack(pictures);
  }

  double low_, high_;
  std::vector<BrownianTree> trees_;
  std::optional<std::pair<double, Tensor>> last_;
};

}  // namespace

NoiseSource::Path brownian_paths(std::uint64_t seed, std::int64_t pictures,
                                 std::function<Tensor(std::uint64_t, at::IntArrayRef)> draw) {
  const auto made = [seed, pictures, draw = std::move(draw)](const NoiseSpan& span,
                                                             std::vector<std::int64_t> shape) {
    std::vector<BrownianTree> trees;
    for (std::int64_t i = 0; i < pictures; ++i) {
      trees.emplace_back(seed + static_cast<std::uint64_t>(i), std::pair(span.low, span.high),
                         [draw, shape](std::uint64_t of_node) { return draw(of_node, shape); });
    }
    return std::make_shared<Paths>(span, std::move(trees));
  };
  return [made, paths = std::shared_ptr<Paths>()](const NoiseSpan& span,
                                                  const Tensor& sample) mutable {
    if (paths == nullptr || !paths->are_of(span)) paths = made(span, sample.sizes().slice(1).vec());
    return paths->over(span);
  };
}

}  // namespace mos::diffusion
