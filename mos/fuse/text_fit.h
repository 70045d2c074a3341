#pragma once

#include <array>

#include "mos/base/choice.h"

namespace mos::fuse {

/// Which positions of the prompts text-fed layers are fitted on.
enum class TextFit {
  kWords,   ///< The authors': unpadded prompts; keys and values at concept words and end token.
  kPadded,  ///< Every position that the U-Net gets to see, padding too.
};
constexpr auto choice_names(TextFit) {
  return std::to_array<Named<TextFit>>({{"words", TextFit::kWords}, {"padded", TextFit::kPadded}});
}

}  // namespace mos::fuse
