#include <fmt/core.h>

#include <algorithm>
#include <optional>
#include <set>

#include "mos/base/error.h"
#include "mos/base/text.h"
#include "mos/region/foreign_options.h"
#include "mos/text/prompt_pieces.h"

/// Networks beside the model that A1111 names: in tags of prompts, and in its line of options.
namespace mos::region {
namespace {

/// `<kind:inside>`, and where it is.
struct Tag {
  std::string kind, inside;
  std::size_t begin, end;
};

/// All of them, as A1111 finds them in spite of backslashes.
std::vector<Tag> tags_in(std::string_view prompt) {
  std::vector<Tag> tags;
  for (auto at = prompt.find('<'); at != prompt.npos; at = prompt.find('<', at)) {
    const auto begin = at++;
    auto colon = at;
    while (colon < prompt.size() && text::is_word_byte(prompt[colon])) ++colon;
    if (colon == at || colon == prompt.size() || prompt[colon] != ':') continue;
    const auto close = prompt.find('>', colon);
    if (close == prompt.npos) break;
    if (close == colon + 1) continue;
    tags.push_back({std::string(prompt.substr(at, colon - at)),
                    std::string(prompt.substr(colon + 1, close - colon - 1)), begin, close + 1});
    at = close + 1;
  }
  return tags;
}

std::vector<std::string> split_at(std::string_view text, char at) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin <= text.size();) {
    const auto end = std::min(text.find(at, begin), text.size());
    parts.emplace_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

/// What A1111 makes of a tag's numbers: name:text encoder:U-Net:rank, or te=, unet=, dyn=.
struct LoraNumbers {
  std::vector<std::string> places;  ///< Name, text encoder, U-Net, rank.
  std::string of_text = "1", of_unet;
  std::vector<std::string> unknown;
};

LoraNumbers numbers_in(const std::string& inside) {
  LoraNumbers numbers;
  std::vector<std::string> named;
  for (auto& item : split_at(inside, ':')) {
    (item.find('=') == item.npos ? numbers.places : named).push_back(std::move(item));
  }
  const auto& places = numbers.places;
  if (places.size() > 1) numbers.of_text = places[1];
  if (places.size() > 2) numbers.of_unet = places[2];
  for (std::size_t i = 3; i < places.size(); ++i) numbers.unknown.push_back(places[i]);
  for (const auto& item : named) {
    const auto key = item.substr(0, item.find('=')), value = item.substr(item.find('=') + 1);
    if (key == "te") {
      numbers.of_text = value;
    } else if (key == "unet") {
      numbers.of_unet = value;
    } else {
      numbers.unknown.push_back(item);
    }
  }
  if (numbers.of_unet.empty()) numbers.of_unet = numbers.of_text;
  return numbers;
}

/// The tag in our words, or "" for one that is said to be left out.
std::string tag_in_ours(const Tag& tag, ForeignRecord& record) {
  const auto whole = fmt::format("<{}:{}>", tag.kind, tag.inside);
  auto& left_out = record.left_out;
  if (tag.kind != "lora" && tag.kind != "lyco") {
    left_out.push_back(whole + ", which names a network of a kind that is not here");
    return "";
  }
  const auto numbers = numbers_in(tag.inside);
  const auto of_text = number_in<double>(trimmed(numbers.of_text));
  const auto of_unet = number_in<double>(trimmed(numbers.of_unet));
  if (numbers.places.empty() || numbers.places.front().empty() || !of_text || !of_unet) {
    left_out.push_back(whole + ", which does not say a file and numbers");
    return "";
  }
  const auto& name = numbers.places.front();
  if (*of_text != *of_unet) {
    left_out.push_back(
        fmt::format("the strength {} of {} in the text encoder; both networks have "
                    "{}",
                    *of_text, name, *of_unet));
  }
  for (const auto& unknown : numbers.unknown) {
    left_out.push_back(fmt::format("\"{}\" of {}", unknown, whole));
  }
  const bool says_all = numbers.places.size() <= 2 && numbers.unknown.empty() &&
                        tag.inside.find('=') == tag.inside.npos;
  return says_all ? whole : fmt::format("<lora:{}:{}>", name, *of_unet);
}

/// Names of networks with what a record knows of each.
class NamedNetworks {
 public:
  explicit NamedNetworks(ForeignRecord& record) : record_(record) {
    for (const auto& tag : tags_in(record.prompt)) {
      // A1111 writes names without colons and commas.
      tagged_.insert(replaced(tag.inside.substr(0, tag.inside.find(':')), ",", ""));
    }
  }

  /// `name: hash, name: hash`.
  void take_list(const std::string& list, std::string_view kind) {
    for (const auto& entry : split_at(list, ',')) {
      const auto name = trimmed(entry.substr(0, entry.rfind(':')));
      if (!name.empty()) take(name, kind);
    }
  }

  /// {"model": hash, "vae": hash, "embed:name": hash, "lora:name": hash}.
  void take_object(const std::string& text) {
    Json hashes;
    try {
      hashes = parse_json(text, "Hashes");
    } catch (const Error&) {
    }
    if (!hashes.is_object()) {
      record_.left_out.push_back("Hashes: " + text);
      return;
    }
    for (const auto& [key, hash] : hashes.items()) {
      const auto colon = key.find(':');
      const auto kind = lower_ascii(key.substr(0, colon));
      if (colon != key.npos) {
        take(key.substr(colon + 1), kind);
      } else if (kind == "vae") {
        has_vae_ = true;
      } else if (kind == "model") {
        has_model_ = true;
      } else {
        record_.left_out.push_back(fmt::format("{}: {}", key, quoted(hash)));
      }
    }
  }

  bool has_vae() const { return has_vae_; }
  bool has_model() const { return has_model_; }

 private:
  void take(const std::string& name, std::string_view kind) {
    if (!seen_.insert(std::string(kind) + ":" + name).second) return;
    if (kind == "embed") {
      name_embedding(name, record_);
    } else if (kind == "lora" || kind == "lyco") {
      if (tagged_.contains(name)) return;
      record_.left_out.push_back(fmt::format(
          "the LoRA {}, which no prompt names; give its file with --concept {}.safetensors", name,
          name));
    } else {
      record_.left_out.push_back(fmt::format("the {} {}", kind, name));
    }
  }

  ForeignRecord& record_;
  std::set<std::string> tagged_;  ///< By prompts.
  std::set<std::string> seen_;
  bool has_vae_ = false, has_model_ = false;
};

}  // namespace

void take_a1111_tags(ForeignRecord& record) {
  const auto prompt = std::move(record.prompt);
  record.prompt.clear();
  std::size_t at = 0;
  for (const auto& tag : tags_in(prompt)) {
    record.prompt += prompt.substr(at, tag.begin - at);
    at = tag.end;
    if (record.prompt.ends_with('\\')) record.prompt += ' ';  // which escapes no tag there
    record.prompt += tag_in_ours(tag, record);
  }
  record.prompt += prompt.substr(at);
}

void name_joined_prompts(ForeignRecord& record) {
  if (!has_word(record.prompt, "AND")) return;
  record.left_out.push_back(
      "AND, between texts that were painted each by itself and added up; here they are one text");
}

void name_a1111_networks(const A1111Fields& fields, ForeignRecord& record) {
  NamedNetworks networks(record);
  if (fields.contains("TI hashes")) networks.take_list(fields.at("TI hashes"), "embed");
  if (fields.contains("Lora hashes")) networks.take_list(fields.at("Lora hashes"), "lora");
  if (fields.contains("Hashes")) networks.take_object(fields.at("Hashes"));
  const auto vae = field_of(fields, "VAE", ""), vae_hash = field_of(fields, "VAE hash", "");
  if (!vae.empty() || !vae_hash.empty() || networks.has_vae()) {
    const auto called = !vae.empty()        ? " " + vae
                        : !vae_hash.empty() ? " of the hash " + vae_hash
                                            : "";
    record.left_out.push_back(fmt::format("its VAE{}; the model's own is taken", called));
  }
  const auto hash = field_of(fields, "Model hash", "");
  if (record.model.empty() && (!hash.empty() || networks.has_model())) {
    record.left_out.push_back(fmt::format("its model{}, which it does not name",
                                          hash.empty() ? "" : " of the hash " + hash));
  }
}

}  // namespace mos::region
