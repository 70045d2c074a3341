#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "mos/text/weighted_prompt.h"

/// Prompts of other programs: what each reads in a text, and texts that say the same elsewhere.
namespace mos::text {

/// As A1111 and Forge read `prompt` once tags of files are out of it: ( ) [ ] and (words:1.3), each
/// kind of bracket by itself, BREAK outside of them, and a backslash that is never painted.
/// Throws mos::Error(kUsage) for [from:to:when] and [a|b], which change while sampling, and for
/// more than 1,000 brackets in brackets.
WeightedPrompt parse_a1111(std::string_view prompt);

/// As ComfyUI does: (words) 1.1 times the weight, (words:1.3) that weight, whatever is around it.
/// Throws mos::Error(kUsage) for more than 1,000 brackets in brackets.
WeightedPrompt parse_comfyui(std::string_view prompt);

/// As compel does for InvokeAI: (words)1.3, (words)++, words+, quotes as brackets; a bracket alone
/// weighs nothing. Its operators (.swap and the like) are text.
WeightedPrompt parse_compel(std::string_view prompt);

/// A text of theirs as one of ours, which parse_weights reads with the same words and weights, and
/// in which nothing is drawn by chance and no file is named; the very text where it is that
/// already. What a prompt must not have here is left for the reader of ours to say.
std::string from_a1111(std::string_view prompt);
std::string from_comfyui(std::string_view prompt);
std::string from_compel(std::string_view prompt);

/// Whether `parse`, one of those above, gives any word of `prompt` another weight than 1.
bool has_weights(std::string_view prompt, WeightedPrompt (*parse)(std::string_view));

/// A prompt of ours, without choices and tags, as A1111 has to be given it; a plain one has no
/// syntax.
std::string to_a1111(std::string_view prompt, bool plain_text);

/// A text with ComfyUI's `embedding:name` as `name` alone, which is how it is called here.
struct NamedEmbeddings {
  std::string prompt;
  std::vector<std::string> names;
};
NamedEmbeddings take_embeddings(std::string_view prompt);

}  // namespace mos::text
