#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace mos::text {

/// What other programs (A1111, ComfyUI, InvokeAI, compel) would not read as plain words in `prompt`
/// and this one does. One sentence for each kind that occurs, with the first such part and what to
/// write instead.
std::vector<std::string> foreign_syntax(std::string_view prompt);

/// Of a text that is words alone, such as a caption: the first part of each kind that prompts, here
/// or elsewhere, do not read as words: files by name, weights, changes over the steps, choices.
std::vector<std::string> prompt_syntax(std::string_view text);

}  // namespace mos::text
