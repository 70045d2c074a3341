#pragma once

#include <string>

#include "mos/concepts/concept_delta.h"
#include "mos/concepts/key_report.h"
#include "mos/diffusion/model.h"

/// How all who load concept files deal with their keys and the base that they were made on.
namespace mos::session {

struct KeyOptions {
  bool list_keys = false;         ///< Every key, not only how many.
  bool allow_unexpected = false;  ///< Leaves out what means nothing, instead of refusing it.

  concepts::UnexpectedKeys unexpected() const {
    using concepts::UnexpectedKeys;
    return allow_unexpected ? UnexpectedKeys::kLeaveOut : UnexpectedKeys::kRefuse;
  }
};

template <class Visitor>
void describe(Visitor& visit, KeyOptions& options) {
  visit("list_keys", options.list_keys,
        "name every key of the concept files and what became of it");
  visit("allow_unexpected", options.allow_unexpected,
        "leave out keys that mean nothing, and layers the base model lacks");
}

/// Says on one line (or with the lists) what became of the keys of `name` on this model. What is
/// for layers that the model lacks is left out of `delta` where that is allowed; else it stays, to
/// be refused with all names when the concept is applied.
void settle_keys(const std::string& name, diffusion::Model& model, concepts::ConceptDelta& delta,
                 concepts::KeyReport keys, const KeyOptions& options);

/// A concept remembers the base it was tuned on: warns when that is not the one with the hash
/// `base_hash` (diffusion::model_hash). Whether it fits is another question.
void compare_base(const std::string& name, const concepts::ConceptDelta& delta,
                  const std::string& base_hash);

}  // namespace mos::session
