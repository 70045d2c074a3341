#pragma once

#include <string>

#include "flags.h"
#include "mos/concepts/concept_delta.h"
#include "mos/concepts/key_report.h"
#include "mos/diffusion/pipeline.h"

/// How every command that loads concept files deals with their keys.
namespace mos::app {

struct KeyOptions {
  concepts::UnexpectedKeys unexpected = concepts::UnexpectedKeys::kRefuse;
  bool list = false;  ///< Every key, not only how many.
};

/// Help for the two flags that take_key_options reads.
extern const char* const kKeyFlagsHelp;

/// --allow-unexpected and --list-keys.
KeyOptions take_key_options(Flags& flags);

/// Says on one line (or with the lists) what became of the keys of `name` on this model. What is
/// for layers that the model lacks is left out of `delta` where that is allowed; else it stays, to
/// be refused with all names when the concept is applied.
void settle_keys(const std::string& name, diffusion::StableDiffusion& model,
                 concepts::ConceptDelta& delta, concepts::KeyReport keys,
                 const KeyOptions& options);

}  // namespace mos::app
