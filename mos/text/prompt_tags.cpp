#include "mos/text/prompt_tags.h"

#include <fmt/core.h>

#include <cctype>
#include <optional>
#include <random>

#include "mos/base/error.h"
#include "mos/base/text.h"

namespace mos::text {
namespace {

[[noreturn]] void refuse(std::string_view tag, const std::string& why) {
  throw Error(ErrorKind::kUsage,
              fmt::format("{} in a prompt {}; expected <lora:name> or <lora:name:scale>, or "
                          "--plain-text for prompts without syntax",
                          tag, why));
}

double scale_of(std::string_view text, std::string_view tag) {
  const auto scale = number_in<double>(text);
  if (!scale) refuse(tag, fmt::format("has the scale \"{}\", which is no number", text));
  return *scale;
}

/// The file of the tag whose inside is `inside`, or nothing when it is none.
std::optional<LoraTag> read_tag(std::string_view inside, std::string_view tag) {
  const auto colon = inside.find(':');
  if (colon == inside.npos) return std::nullopt;
  const auto kind = lower_ascii(std::string(inside.substr(0, colon)));
  if (kind == "hypernet") refuse(tag, "names a hypernetwork, which is not supported");
  // Other brackets are words of concepts, or text.
  if (kind != "lora" && kind != "lyco") return std::nullopt;
  auto rest = inside.substr(colon + 1);
  const auto second = rest.find(':');
  LoraTag lora{std::string(rest.substr(0, second)), 1.0};
  if (lora.name.empty()) refuse(tag, "names no file");
  if (second == rest.npos) return lora;
  rest.remove_prefix(second + 1);
  const auto third = rest.find(':');
  lora.scale = scale_of(rest.substr(0, third), tag);
  if (third == rest.npos) return lora;
  // A1111: <lora:name:U-Net:text encoder>.
  if (scale_of(rest.substr(third + 1), tag) != lora.scale) {
    refuse(tag, "has a scale for each network, and here both have one");
  }
  return lora;
}

/// Whether a tag may begin with what `text` begins with.
bool begins_file_tag(std::string_view text) {
  const auto start = lower_ascii(std::string(text.substr(0, 10)));
  return start.starts_with("<lora:") || start.starts_with("<lyco:") ||
         start.starts_with("<hypernet:");
}

bool is_escaped(std::string_view text, std::size_t at) { return at > 0 && text[at - 1] == '\\'; }

/// Where { and } of a choice are.
struct Braces {
  std::size_t open, close;
};

/// The choice that ends first, so one without another in it. Braces without a bar are text.
std::optional<Braces> innermost(std::string_view text) {
  struct Level {
    std::size_t open;
    bool has_bar = false;
  };
  std::vector<Level> levels;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (is_escaped(text, i)) continue;
    if (text[i] == '{') levels.push_back({i});
    if (levels.empty()) continue;
    if (text[i] == '|') levels.back().has_bar = true;
    if (text[i] != '}') continue;
    if (levels.back().has_bar) return Braces{levels.back().open, i};
    levels.pop_back();
  }
  return std::nullopt;
}

std::vector<std::string_view> split_at_bars(std::string_view text) {
  std::vector<std::string_view> parts;
  std::size_t begin = 0;
  for (std::size_t i = 0; i <= text.size(); ++i) {
    if (i < text.size() && (text[i] != '|' || is_escaped(text, i))) continue;
    parts.push_back(text.substr(begin, i - begin));
    begin = i + 1;
  }
  return parts;
}

}  // namespace

TaggedPrompt take_lora_tags(std::string_view prompt) {
  TaggedPrompt taken;
  std::string rest;
  std::size_t at = 0;
  while (at < prompt.size()) {
    const auto open = prompt.find('<', at);
    if (open == prompt.npos) break;
    if (!begins_file_tag(prompt.substr(open))) {
      rest += prompt.substr(at, open + 1 - at);
      at = open + 1;
      continue;
    }
    const auto close = prompt.find('>', open);
    if (close == prompt.npos) break;
    const auto tag = prompt.substr(open, close - open + 1);
    const auto lora =
        is_escaped(prompt, open) ? std::nullopt : read_tag(tag.substr(1, tag.size() - 2), tag);
    if (lora) taken.loras.push_back(*lora);
    rest += prompt.substr(at, (lora ? open : close + 1) - at);
    at = close + 1;
  }
  if (taken.loras.empty()) return {std::string(prompt), {}};
  rest += prompt.substr(std::min(at, prompt.size()));
  taken.prompt = trimmed(rest);
  return taken;
}

bool has_choice(std::string_view prompt) { return innermost(prompt).has_value(); }

std::string choose(std::string_view prompt, std::uint64_t seed) {
  std::string text(prompt);
  std::mt19937_64 random(seed);
  constexpr int kMost = 1000;
  int drawn = 0;
  while (const auto found = innermost(text)) {
    if (++drawn > kMost) {
      throw Error(ErrorKind::kUsage, fmt::format("a prompt has more than {} choices", kMost));
    }
    const auto [open, close] = *found;
    const auto parts = split_at_bars(std::string_view(text).substr(open + 1, close - open - 1));
    // A copy: the text that it is a part of changes.
    const std::string chosen(parts[random() % parts.size()]);
    text.replace(open, close - open + 1, chosen);
  }
  return text;
}

}  // namespace mos::text
