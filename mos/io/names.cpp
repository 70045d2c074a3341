#include "mos/io/names.h"

#include <array>

namespace mos::io {
namespace {

/// Keys that match `where` have the path component `from` replaced by `to`.
struct RenameRule {
  std::string_view where;
  std::string_view from;
  std::string_view to;
};

/// diffusers before 0.17 named the VAE's attention layers as its `AttentionBlock` did.
constexpr std::array<RenameRule, 4> kRenameRules = {{
    {"*attentions.*.query.*", ".query.", ".to_q."},
    {"*attentions.*.key.*", ".key.", ".to_k."},
    {"*attentions.*.value.*", ".value.", ".to_v."},
    {"*attentions.*.proj_attn.*", ".proj_attn.", ".to_out.0."},
}};

/// transformers before 4.31 stored the positions 0, 1, 2, … beside the weights.
constexpr std::array<std::string_view, 1> kIgnorableBuffers = {"*embeddings.position_ids"};

}  // namespace

bool matches_pattern(std::string_view text, std::string_view pattern) {
  std::size_t t = 0, p = 0;
  std::size_t star = std::string_view::npos, resume = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
    } else if (p < pattern.size() && pattern[p] == text[t]) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

std::string canonical_key(std::string_view key) {
  std::string result(key);
  for (const auto& rule : kRenameRules) {
    if (!matches_pattern(result, rule.where)) continue;
    result.replace(result.rfind(rule.from), rule.from.size(), rule.to);
  }
  return result;
}

bool is_ignorable_buffer(std::string_view key) {
  for (const auto pattern : kIgnorableBuffers) {
    if (matches_pattern(key, pattern)) return true;
  }
  return false;
}

}  // namespace mos::io
