#include <fmt/core.h>

#include <array>
#include <string>

#include "mos/base/choice.h"
#include "mos/base/error.h"
#include "mos/base/random.h"
#include "mos/base/sha256.h"
#include "mos/fuse/methods/sparse.h"

namespace mos::fuse {

namespace {

/// How the kept entries of several updates become one.
enum class Then { kSum, kTies };
constexpr auto choice_names(Then) {
  return std::to_array<Named<Then>>({{"sum", Then::kSum}, {"ties", Then::kTies}});
}

struct DareOptions {
  double density = 0.5;
  Then then = Then::kSum;
  std::uint64_t seed = 0;
};

template <class Visitor>
void describe(Visitor& visit, DareOptions& o) {
  visit("density", o.density, "share of each update's entries that is kept, at random",
        between(0, 1));
  visit("then", o.then, "sum or ties: how the kept entries become one");
  visit("seed", o.seed, "of what is dropped");
}

/// A generator for one concept's update of one layer: what is dropped there depends on neither the
/// order of layers nor the number of concepts.
at::Generator generator_for(std::uint64_t seed, const std::string& layer, std::size_t index) {
  const auto key = fmt::format("dare {} {} {}", seed, layer, index);
  return seeded_generator(std::stoull(sha256_of(key).substr(0, 16), nullptr, 16));
}

/// DARE (Yu et al. 2023): drop entries at random and scale up the rest, so that the mean stays.
class Dare final : public MergeMethod {
 public:
  void describe(FieldVisitor& visit) override { describe_options(visit, options_); }

  void check() const override { check_density(options_.density); }

  Merged merge(const LayerProblem& problem) const override {
    std::vector<torch::Tensor> thinned;
    for (std::size_t i = 0; i < problem.updates.size(); ++i) {
      if (problem.updates[i].empty() || problem.weights[i] == 0.0) continue;
      thinned.push_back(
          dropped(problem.weights[i] * problem.updates[i].matrix(), problem.layer, i));
    }
    if (thinned.empty()) return {};
    return {.update = {.dense =
                           options_.then == Then::kTies ? elected_mean(thinned) : sum_of(thinned)}};
  }

 private:
  torch::Tensor dropped(const torch::Tensor& matrix, const std::string& layer,
                        std::size_t index) const {
    auto generator = generator_for(options_.seed, layer, index);
    const auto drawn = torch::rand(matrix.sizes(), generator, torch::kFloat64);
    return torch::where(drawn < options_.density, matrix / options_.density,
                        torch::zeros_like(matrix));
  }

  DareOptions options_;
};

}  // namespace

std::unique_ptr<MergeMethod> make_dare() { return std::make_unique<Dare>(); }

}  // namespace mos::fuse
