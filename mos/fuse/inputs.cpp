#include "mos/fuse/inputs.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "mos/base/log.h"

namespace mos::fuse {

SiteInputs::SiteInputs(std::string name, std::int64_t in_features, GramStore& store)
    : name_(std::move(name)), in_features_(in_features), store_(store) {}

void SiteInputs::add(const InputGram& gram) {
  stored_.push_back(store_.put(gram));
  const auto rows = gram.kept().rows();
  kept_.push_back(rows.defined() ? StoredRows{store_.put_matrix(rows), gram.kept().stride()}
                                 : StoredRows{});
  rows_ += gram.rows();
  // What was summed and factorised before is no longer of all inputs.
  sum_.reset();
  factors_.reset();
}

InputGram SiteInputs::of(std::size_t index) const { return store_.get(stored_.at(index)); }

SiteInputs::Kept SiteInputs::kept(std::size_t index) const {
  const auto& stored = kept_.at(index);
  if (stored.stride == 0) return {};
  return {.rows = store_.get_matrix(stored.number), .stride = stored.stride};
}

void SiteInputs::set_again(std::size_t index, const PairedMoments& moments) {
  const auto found = again_.find(index);
  if (found == again_.end()) {
    again_.emplace(index, StoredPair{.again = store_.put_matrix(moments.again),
                                     .cross = store_.put_matrix(moments.cross)});
  } else {
    // Of the same size as in the round before, so it goes into its place and the file does not
    // grow.
    store_.replace_matrix(found->second.again, moments.again);
    store_.replace_matrix(found->second.cross, moments.cross);
  }
}

PairedMoments SiteInputs::again(std::size_t index) const {
  const auto& stored = again_.at(index);
  return {.again = store_.get_matrix(stored.again), .cross = store_.get_matrix(stored.cross)};
}

const InputGram& SiteInputs::total(std::span<const double> weights) const {
  // Layers that read the same inputs (to_k and to_v) ask one after the other with the same weights.
  if (sum_ && std::ranges::equal(sum_->weights, weights)) return sum_->gram;
  factors_.reset();
  sum_ = {.weights = {weights.begin(), weights.end()}, .gram = InputGram(in_features_)};
  for (std::size_t i = 0; i < stored_.size(); ++i) sum_->gram.merge(of(i).scaled(weights[i]));
  return sum_->gram;
}

const RidgeSolver& SiteInputs::ridge(std::span<const double> weights, double relative_ridge) const {
  const auto& gram = total(weights);
  if (factors_ && factors_->asked_for == relative_ridge) return factors_->solver;
  factors_ = {.asked_for = relative_ridge, .solver = RidgeSolver(gram, relative_ridge)};
  const double taken = factors_->solver.relative_ridge();
  if (taken > relative_ridge) {
    log::warn(fmt::format("{}: the moments are singular, ridge raised from {:g} to {:g}", name_,
                          relative_ridge, taken));
  }
  return factors_->solver;
}

}  // namespace mos::fuse
