#include "mos/session/concept_keys.h"

#include <fmt/core.h>

#include "mos/base/log.h"
#include "mos/concepts/lora.h"

namespace mos::session {

void settle_keys(const std::string& name, diffusion::Model& model, concepts::ConceptDelta& delta,
                 concepts::KeyReport keys, const KeyOptions& options) {
  if (options.allow_unexpected) {
    for (auto& [part, updates] : delta.updates) {
      concepts::leave_out_absent_layers(*model.network(part), part, updates, keys);
    }
  }
  log::info(fmt::format("{}: {}", name, keys.summary()));
  if (options.list_keys) keys.tell_listing();
}

void compare_base(const std::string& name, const concepts::ConceptDelta& delta,
                  const std::string& base_hash) {
  const auto tuned_on = delta.metadata.find("base_model");
  if (tuned_on == delta.metadata.end() || tuned_on->second == base_hash) return;
  log::warn(fmt::format("{} was tuned on another base model than this one", name));
}

}  // namespace mos::session
