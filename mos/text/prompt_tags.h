#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

/// Parts of a prompt that are settled before it is read: files by name, and choices.
namespace mos::text {

/// `<lora:name:0.8>`.
struct LoraTag {
  std::string name;
  double scale = 1.0;
  bool operator==(const LoraTag&) const = default;
};

struct TaggedPrompt {
  std::string prompt;  ///< Without the tags, and without the blanks that they leave at the ends.
  std::vector<LoraTag> loras;
};

/// Takes `<lora:name>`, `<lora:name:scale>` and `<lyco:…>` out of `prompt`; an escaped `\<` begins
/// none. Throws mos::Error(kUsage) for a scale that is no number, for other scales for text encoder
/// and U-Net, and for `<hypernet:…>`.
TaggedPrompt take_lora_tags(std::string_view prompt);

/// Whether `prompt` has a choice `{a|b}`.
bool has_choice(std::string_view prompt);

/// Draws one text for each `{a|b|c}`, the inner ones of nested choices first; the same for the same
/// prompt and seed on every machine. `{}` without a bar is text, and so is what is escaped.
/// Throws mos::Error(kUsage) for more than 1,000 choices.
std::string choose(std::string_view prompt, std::uint64_t seed);

}  // namespace mos::text
