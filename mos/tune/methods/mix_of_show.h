#pragma once

#include "mos/tune/options.h"

namespace mos::tune {

/// What the authors' research branch has in common for its own method and for its baselines, which
/// all learn from whole pictures: no masks, no attention term, no norm at which words freeze.
/// Source: its options/train, of which the numbers of its methods are.
void set_research_branch(TuneOptions& options);

/// Mix-of-Show as the paper's tables were made.
void set_ed_lora_paper(TuneOptions& options);

}  // namespace mos::tune
