#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "mos/fuse/gram.h"
#include "mos/fuse/gram_store.h"
#include "mos/fuse/solver.h"

namespace mos::fuse {

/// Inputs of one place that were seen twice, row by row: X with the concept's own weights, X̃ with
/// the merged ones.
struct PairedMoments {
  torch::Tensor again;  ///< X̃ᵀX̃, [I,I] float64 on the CPU.
  torch::Tensor cross;  ///< XᵀX̃, [I,I] float64 on the CPU.
};

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
  /// Rows of concept `index` that were kept, [n,I], and of how many each is one; undefined if none
  /// were asked for.
  struct Kept {
    torch::Tensor rows;
    std::int64_t stride = 1;
  };
  Kept kept(std::size_t index) const;

  /// What concept `index` was seen to read once more, by the merged model, in the place of what
  /// was told before of that.
  void set_again(std::size_t index, const PairedMoments& moments);
  /// Whether every concept was.
  bool seen_again() const { return !again_.empty() && again_.size() == stored_.size(); }
  PairedMoments again(std::size_t index) const;

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
  struct StoredRows {
    std::size_t number = 0;
    std::int64_t stride = 0;  ///< 0: nothing was kept.
  };
  std::vector<std::size_t> stored_;  ///< By concept, the number in store_.
  std::vector<StoredRows> kept_;     ///< By concept.
  struct StoredPair {
    std::size_t again, cross;
  };
  std::map<std::size_t, StoredPair> again_;  ///< By concept.
  std::int64_t rows_ = 0;
  mutable std::optional<Sum> sum_;
  mutable std::optional<Factors> factors_;
};

}  // namespace mos::fuse
