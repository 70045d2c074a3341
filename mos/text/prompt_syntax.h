#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace mos::text {

/// What other programs (A1111, ComfyUI, InvokeAI, compel) would not read as plain words in `prompt`
/// and this one does: files by name, weights, changes over the steps, choices. One sentence for
/// each kind that occurs, with the first such part and what to write instead.
/// Without `plain_text` weights, choices, BREAK, escapes and files are read, and only the rest is
/// named.
std::vector<std::string> foreign_syntax(std::string_view prompt, bool plain_text = true);

}  // namespace mos::text
