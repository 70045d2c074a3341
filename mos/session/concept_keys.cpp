#include "concept_keys.h"

#include <fmt/core.h>

#include "mos/base/log.h"
#include "mos/concepts/lora.h"

namespace mos::app {

using concepts::Network;
using concepts::UnexpectedKeys;

const char* const kKeyFlagsHelp =
    "  --list-keys              name every key of the concept files and what became of it\n"
    "  --allow-unexpected       leave out keys that mean nothing, and layers the base model "
    "lacks\n";

KeyOptions take_key_options(Flags& flags) {
  KeyOptions options;
  if (flags.take_switch("allow-unexpected")) options.unexpected = UnexpectedKeys::kLeaveOut;
  options.list = flags.take_switch("list-keys");
  return options;
}

void settle_keys(const std::string& name, diffusion::StableDiffusion& model,
                 concepts::ConceptDelta& delta, concepts::KeyReport keys,
                 const KeyOptions& options) {
  if (options.unexpected == UnexpectedKeys::kLeaveOut) {
    concepts::leave_out_absent_layers(*model.text_encoder, Network::kTextEncoder,
                                      delta.text_encoder, keys);
    concepts::leave_out_absent_layers(*model.unet, Network::kUNet, delta.unet, keys);
  }
  log::info(fmt::format("{}: {}", name, keys.summary()));
  if (options.list) log::info(keys.listing());
}

}  // namespace mos::app
