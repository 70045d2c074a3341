#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "mos/fuse/gram.h"
#include "mos/fuse/gram_store.h"
#include "mos/fuse/solver.h"

namespace mos::fuse {

/// What every concept was seen to feed into one place of the networks; the layers that read there
/// share it. The concepts' own moments wait in a file, so memory is that of their sum.
class SiteInputs {
 public:
  /// `name` is for messages. Keeps a reference to `store`.
  SiteInputs(std::string name, std::int64_t in_features, GramStore& store);

  /// The moments of the next concept.
  void add(const InputGram& gram);

  std::size_t concepts() const { return stored_.size(); }
  std::int64_t in_features() const { return in_features_; }
  std::int64_t rows() const { return rows_; }  ///< Of all concepts.

  /// G_i, read from the file.
  InputGram of(std::size_t index) const;

  /// Σ w_i G_i. The last one is kept: valid until the next call with other weights, or add().
  const InputGram& total(std::span<const double> weights) const;
  /// Σ w_i G_i + λI, factorised once for all layers that ask for the same; kept as above. Says so
  /// when the ridge has to be larger.
  const RidgeSolver& ridge(std::span<const double> weights, double relative_ridge) const;

 private:
  struct Sum {
    std::vector<double> weights;
    InputGram gram;
  };
  struct Factors {
    double asked_for;
    RidgeSolver solver;
  };

  std::string name_;
  std::int64_t in_features_;
  GramStore& store_;
  std::vector<std::size_t> stored_;  ///< By concept, the number in store_.
  std::int64_t rows_ = 0;
  mutable std::optional<Sum> sum_;
  mutable std::optional<Factors> factors_;
};

}  // namespace mos::fuse
