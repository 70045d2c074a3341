#include "mos/text/clip_tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/base/json.h"
#include "mos/base/text.h"
#include "mos/text/byte_pairs.h"
#include "mos/text/clean_text.h"
#include "mos/text/clip_merges.h"

namespace mos::text {
namespace {

namespace fs = std::filesystem;

/// transformers writes 1e30 for "no limit"; anything above this is no length.
constexpr std::int64_t kLongestSequence = 1'000'000;

[[noreturn]] void fail(const std::string& origin, const std::string& reason) {
  throw Error(ErrorKind::kFormat, fmt::format("cannot use {}: {}", origin, reason));
}

/// A token is written as a string or as an object with "content".
std::optional<std::string> token_text(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_object() && value.contains("content") && value["content"].is_string()) {
    return value["content"].get<std::string>();
  }
  return std::nullopt;
}

std::optional<Json> object_if_present(const CLIPTokenizer::Texts& texts, const char* name,
                                      const std::string& origin) {
  const auto found = texts.find(name);
  if (found == texts.end()) return std::nullopt;
  const auto path = origin + "/" + name;
  auto json = parse_json(found->second, path);
  if (!json.is_object()) fail(path, "expected a JSON object");
  return json;
}

const std::string& required_text(const CLIPTokenizer::Texts& texts, const char* name,
                                 const std::string& origin) {
  const auto found = texts.find(name);
  if (found == texts.end()) fail(origin, fmt::format("it has no {}", name));
  return found->second;
}

constexpr std::array kRequiredFiles = {"vocab.json", "merges.txt"};
constexpr std::array kOptionalFiles = {"tokenizer_config.json", "special_tokens_map.json",
                                       "added_tokens.json"};
/// All of them in one, as the tokenizers library writes it; newer folders have no other.
constexpr const char* kWholeFile = "tokenizer.json";

/// "a b", also of a newer file's ["a", "b"].
std::string merge_line(const Json& merge, const std::string& path) {
  std::vector<std::string> pair;
  std::string line;
  if (assign_json(merge, pair) && pair.size() == 2) return pair[0] + " " + pair[1];
  if (assign_json(merge, line)) return line;
  fail(path, fmt::format("the merge {} is not two symbols", quoted(merge)));
}

/// The entry `key` of `object`, which must be of such a kind.
const Json& entry_of(const Json& object, const char* key, Json::value_t kind,
                     const std::string& path) {
  const auto found = object.find(key);
  if (found == object.end() || found->type() != kind) {
    fail(path, fmt::format("it has no \"{}\" as a tokenizer of CLIP has it", key));
  }
  return *found;
}

/// The files of older folders out of tokenizer.json.
CLIPTokenizer::Texts texts_of_whole_file(const fs::path& file) {
  const auto path = file.string();
  const auto json = read_json_file(file);
  if (!json.is_object()) fail(path, "expected a JSON object");
  const auto& model = entry_of(json, "model", Json::value_t::object, path);
  if (json_value<std::string>(model, "type", "BPE") != "BPE") {
    fail(path, fmt::format("its model is {}, expected BPE", quoted(model["type"])));
  }
  std::string merges = "#version: 0.2\n";
  for (const auto& merge : entry_of(model, "merges", Json::value_t::array, path)) {
    merges += merge_line(merge, path) + "\n";
  }
  CLIPTokenizer::Texts texts;
  texts["vocab.json"] = json_text(entry_of(model, "vocab", Json::value_t::object, path));
  texts["merges.txt"] = std::move(merges);
  std::map<std::string, Json> added;  // an object of Json looks through its keys one by one
  if (json.contains("added_tokens")) {
    for (const auto& token : entry_of(json, "added_tokens", Json::value_t::array, path)) {
      const auto text = token.is_object() ? token_text(token) : std::nullopt;
      if (!text || !token.contains("id")) fail(path, "added_tokens has a bad entry");
      added[*text] = token["id"];
    }
  }
  texts["added_tokens.json"] = json_text(Json(added));
  return texts;
}

}  // namespace

CLIPTokenizer CLIPTokenizer::from_directory(const fs::path& directory) {
  Texts texts;
  const bool are_there =
      std::all_of(kRequiredFiles.begin(), kRequiredFiles.end(),
                  [&](const char* name) { return fs::exists(directory / name); });
  if (!are_there && fs::exists(directory / kWholeFile)) {
    texts = texts_of_whole_file(directory / kWholeFile);
  } else {
    for (const auto* name : kRequiredFiles) texts[name] = read_text_file(directory / name);
  }
  for (const auto* name : kOptionalFiles) {
    if (fs::exists(directory / name)) texts[name] = read_text_file(directory / name);
  }
  return from_texts(texts, directory.string());
}

CLIPTokenizer CLIPTokenizer::from_texts(const Texts& texts, const std::string& origin) {
  CLIPTokenizer tokenizer;
  tokenizer.base_ = std::make_shared<const BytePairs>(
      BytePairs::from_texts(required_text(texts, "vocab.json", origin),
                            required_text(texts, "merges.txt", origin), origin));
  tokenizer.read_configuration(texts, origin);
  tokenizer.read_added_tokens(texts, origin);
  tokenizer.resolve_special_tokens(origin);
  return tokenizer;
}

CLIPTokenizer CLIPTokenizer::clip(const std::string& pad) {
  CLIPTokenizer tokenizer;
  const auto& special = tokenizer.special_;
  tokenizer.base_ = std::make_shared<const BytePairs>(
      BytePairs::from_merges(clip_merges(), {special.bos, special.eos}));
  tokenizer.special_.pad = pad;
  tokenizer.resolve_special_tokens("CLIP's vocabulary");
  return tokenizer;
}

/// The special tokens map has the last word, as in transformers.
void CLIPTokenizer::read_configuration(const Texts& texts, const std::string& origin) {
  for (const char* name : {"tokenizer_config.json", "special_tokens_map.json"}) {
    const auto json = object_if_present(texts, name, origin);
    if (!json) continue;
    const auto read = [&json](const char* key, std::string& target) {
      if (json->contains(key)) target = token_text((*json)[key]).value_or(target);
    };
    read("bos_token", special_.bos);
    read("eos_token", special_.eos);
    read("pad_token", special_.pad);
    read("unk_token", special_.unknown);
    if (json->contains("additional_special_tokens")) {
      special_.additional.clear();
      for (const auto& token : (*json)["additional_special_tokens"]) {
        if (const auto text = token_text(token)) special_.additional.push_back(*text);
      }
    }
    if (json->contains("model_max_length")) {
      std::int64_t length = 0;
      if (assign_json((*json)["model_max_length"], length) && length <= kLongestSequence) {
        model_max_length_ = length;
      }
    }
    if (model_max_length_ < 3) {
      fail(fmt::format("{}/{}", origin, name),
           fmt::format("model_max_length is {}, expected at least 3", model_max_length_));
    }
  }
}

/// added_tokens.json maps texts to ids; since 4.34 tokenizer_config.json maps ids to tokens.
void CLIPTokenizer::read_added_tokens(const Texts& texts, const std::string& origin) {
  const auto added_path = origin + "/added_tokens.json";
  if (const auto json = object_if_present(texts, "added_tokens.json", origin)) {
    for (const auto& [token, value] : json->items()) {
      std::int64_t id = 0;
      if (!assign_json(value, id)) {
        fail(added_path, fmt::format("the id of \"{}\" is {}, expected a whole number",
                                     printable(token), quoted(value)));
      }
      register_added(token, id, added_path);
    }
  }
  const auto config_path = origin + "/tokenizer_config.json";
  const auto config = object_if_present(texts, "tokenizer_config.json", origin);
  if (!config || !config->contains("added_tokens_decoder")) return;
  for (const auto& [key, value] : (*config)["added_tokens_decoder"].items()) {
    const auto token = token_text(value);
    const auto id = number_in<std::int64_t>(key);
    if (!token || !id) {
      fail(config_path, fmt::format("added_tokens_decoder has a bad entry \"{}\"", printable(key)));
    }
    register_added(*token, *id, config_path);
  }
}

void CLIPTokenizer::register_added(const std::string& token, std::int64_t id,
                                   const std::string& origin) {
  if (token.empty()) fail(origin, fmt::format("the added token with the id {} has no text", id));
  // transformers 4.34 and later list the special tokens once more, with the ids that they have.
  if (const auto known = token_id(token)) {
    if (*known != id) {
      fail(origin,
           fmt::format("the token \"{}\" has two ids, {} and {}", printable(token), *known, id));
    }
  } else {
    if (id < base_vocab_size() || added_ids_.contains(id)) {
      fail(origin, fmt::format("the added token \"{}\" has the id {}, which is taken",
                               printable(token), id));
    }
    if (id > kLargestTokenId) {
      fail(origin,
           fmt::format("the added token \"{}\" has the impossible id {}", printable(token), id));
    }
    put_added(token, id);
  }
  cut_out(token);
}

void CLIPTokenizer::resolve_special_tokens(const std::string& origin) {
  const auto resolve = [&](const char* role, const std::string& token) {
    const auto id = token_id(token);
    if (!id || token.empty()) {
      fail(origin,
           fmt::format("the {} token \"{}\" is not in the vocabulary", role, printable(token)));
    }
    cut_out(token);
    return *id;
  };
  bos_id_ = resolve("beginning-of-text", special_.bos);
  eos_id_ = resolve("end-of-text", special_.eos);
  pad_id_ = resolve("padding", special_.pad);
  unknown_id_ = resolve("unknown", special_.unknown);
  for (const auto& token : special_.additional) resolve("additional", token);
}

void CLIPTokenizer::cut_out(const std::string& token) { registered_[token.front()].insert(token); }

void CLIPTokenizer::put_added(const std::string& token, std::int64_t id) {
  added_.emplace(token, id);
  added_ids_.insert(id);
}

/// The longest registered token that `text` starts with; empty if there is none.
std::string_view CLIPTokenizer::registered_prefix(std::string_view text) const {
  const auto same_start = registered_.find(text.front());
  if (same_start == registered_.end()) return {};
  for (const auto& token : same_start->second) {
    if (text.starts_with(token)) return token;
  }
  return {};
}

void CLIPTokenizer::encode_plain(std::string_view text, std::vector<std::int64_t>& ids) const {
  const std::vector<std::string> whole = {special_.bos, special_.eos};
  // Between the added tokens: those are found in the text as it stands, case and all, as
  // transformers does.
  const auto cleaned = clean_text(text);
  for (const auto piece : split_pieces(cleaned, whole)) {
    if (piece == special_.bos || piece == special_.eos) {
      ids.push_back(piece == special_.bos ? bos_id_ : eos_id_);
    } else {
      base_->encode(piece, unknown_id_, ids);
    }
  }
}

std::vector<std::int64_t> CLIPTokenizer::encode_words(std::string_view text) const {
  std::vector<std::int64_t> ids;
  std::size_t plain_length = 0;
  while (plain_length < text.size()) {
    const auto token = registered_prefix(text.substr(plain_length));
    if (token.empty()) {
      ++plain_length;
      continue;
    }
    encode_plain(text.substr(0, plain_length), ids);
    // An added token is whole, whatever letters touch it.
    ids.push_back(*token_id(token));
    text.remove_prefix(plain_length + token.size());
    plain_length = 0;
  }
  encode_plain(text, ids);
  return ids;
}

std::vector<std::int64_t> CLIPTokenizer::framed(std::vector<std::int64_t> ids) const {
  ids.insert(ids.begin(), bos_id_);
  ids.push_back(eos_id_);
  return ids;
}

std::vector<std::int64_t> CLIPTokenizer::padded(std::vector<std::int64_t> ids) const {
  const auto length = static_cast<std::size_t>(model_max_length_);
  // transformers cuts the text and keeps the end token.
  const bool cut = ids.size() > length;
  ids.resize(length, pad_id_);
  if (cut) ids.back() = eos_id_;
  return ids;
}

std::vector<std::int64_t> CLIPTokenizer::encode(std::string_view text) const {
  return framed(encode_words(text));
}

std::vector<std::int64_t> CLIPTokenizer::encode_padded(std::string_view text) const {
  return padded(encode(text));
}

std::vector<std::int64_t> CLIPTokenizer::encode(const PiecedText& text) const {
  std::vector<std::int64_t> ids;
  for (const auto& [words, token] : text) {
    const auto of_piece = token ? std::vector{*token} : encode_words(words);
    ids.insert(ids.end(), of_piece.begin(), of_piece.end());
  }
  return framed(std::move(ids));
}

std::vector<std::int64_t> CLIPTokenizer::encode_padded(const PiecedText& text) const {
  return padded(encode(text));
}

void CLIPTokenizer::check_free(const std::string& token) const {
  if (token.empty()) throw Error(ErrorKind::kUsage, "cannot add a token without text");
  if (!is_taken(token)) return;
  throw Error(ErrorKind::kUsage,
              fmt::format("cannot add the token \"{}\": it is in the vocabulary already; choose "
                          "another name",
                          token));
}

std::int64_t CLIPTokenizer::add_token(const std::string& token) {
  check_free(token);
  const auto id = vocab_size();
  put_added(token, id);
  cut_out(token);
  return id;
}

std::int64_t CLIPTokenizer::reserve_token(const std::string& name) {
  check_free(name);
  const auto id = vocab_size();
  reserved_.emplace(name, id);
  added_ids_.insert(id);
  return id;
}

void CLIPTokenizer::withdraw_token(const std::string& name) {
  auto token = added_.extract(name);
  if (token.empty()) return;
  // The id stays taken: rows of an embedding stand at it.
  reserved_.insert(std::move(token));
  registered_[name.front()].erase(name);
}

bool CLIPTokenizer::is_taken(std::string_view name) const {
  return token_id(name) || reserved_.contains(name);
}

std::optional<std::int64_t> CLIPTokenizer::token_id(std::string_view token) const {
  const auto found = added_.find(token);
  return found != added_.end() ? std::optional(found->second) : base_->id(token);
}

std::int64_t CLIPTokenizer::vocab_size() const {
  return std::max(base_->largest_id(), added_ids_.empty() ? -1 : *added_ids_.rbegin()) + 1;
}

std::int64_t CLIPTokenizer::base_vocab_size() const { return base_->largest_id() + 1; }

void CLIPTokenizer::save(const fs::path& directory) const {
  make_folders(directory);
  for (const auto& [name, text] : texts()) write_text_file(directory / name, text);
  std::error_code ignored;
  // A file of an earlier save would give ids to tokens that are gone.
  if (added_.empty() && reserved_.empty()) fs::remove(directory / "added_tokens.json", ignored);
}

CLIPTokenizer::Texts CLIPTokenizer::texts() const {
  Texts texts;
  texts["vocab.json"] = base_->vocabulary_text();
  texts["merges.txt"] = base_->merges_text();
  Json special = {{"bos_token", special_.bos},
                  {"eos_token", special_.eos},
                  {"pad_token", special_.pad},
                  {"unk_token", special_.unknown}};
  if (!special_.additional.empty()) special["additional_special_tokens"] = special_.additional;
  texts["special_tokens_map.json"] = special.dump(2) + "\n";

  Json config = special;
  // What CLIP's own file says; readers of transformers look for it.
  config["errors"] = "replace";
  config["model_max_length"] = model_max_length_;
  config["tokenizer_class"] = "CLIPTokenizer";
  texts["tokenizer_config.json"] = config.dump(2) + "\n";
  auto added = added_;
  added.insert(reserved_.begin(), reserved_.end());
  if (!added.empty()) texts["added_tokens.json"] = Json(added).dump(2) + "\n";
  return texts;
}

bool CLIPTokenizer::has_clip_vocabulary() const { return base_->merges_text() == clip_merges(); }

}  // namespace mos::text
