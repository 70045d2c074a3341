#include <fmt/core.h>

#include <algorithm>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/base/json.h"
#include "mos/base/text.h"
#include "mos/base/yaml.h"
#include "mos/io/image.h"
#include "mos/text/clip_tokenizer.h"
#include "mos/tune/dataset.h"
#include "tests/fuzz/fuzz.h"

namespace mos::fuzz {
namespace {

namespace fs = std::filesystem;

// ---- JSON and YAML ----

/// What was read is UTF-8 and comes back.
void check_json(const Json& json) {
  const auto text = json.dump();  // throws for bytes that are not UTF-8
  promise(parse_json(text, "again") == json, "JSON does not read as it was written");
}

void run_json(std::string_view bytes) { check_json(parse_json(bytes, "input")); }

void run_yaml(std::string_view bytes) { check_json(parse_yaml(bytes, "input")); }

std::vector<std::string> json_seeds() {
  return {R"({"a": [1, -2.5, 1e-6, true, null, "caf\u00e9 \ud83d\udc3b"], "b": {"": {}}})", "[]",
          "18446744073709551615"};
}

std::vector<std::string> yaml_seeds() {
  return {
      "model:\n  target: ldm.models.diffusion.ddpm.LatentDiffusion\n  params:\n"
      "    parameterization: \"v\"  # comment\n    linear_start: 0.00085\n    timesteps: 1000\n"
      "    cond_stage_config:\n      params: {freeze: True, layer: 'penultimate'}\n"
      "    channel_mult:\n    - 1\n    - [2, ~]\n",
      "---\n- a: |\n    two\n    lines\n  b: >\n    folded\n- \"\\u20ac\"\n...\n"};
}

// ---- The tokenizer ----

/// "=== name" lines before the contents of each file; what stands before the first is encoded.
std::pair<std::string, text::CLIPTokenizer::Texts> split_files(std::string_view bytes) {
  constexpr std::string_view kMark = "=== ";
  text::CLIPTokenizer::Texts files;
  auto place = bytes.find(kMark);
  const std::string spoken(bytes.substr(0, place));
  while (place != bytes.npos) {
    const auto line = bytes.find('\n', place);
    if (line == bytes.npos) break;
    const auto next = bytes.find(kMark, line);
    const auto name = bytes.substr(place + kMark.size(), line - place - kMark.size());
    files[std::string(name)] = bytes.substr(line + 1, next - line - 1);
    place = next;
  }
  return {spoken, files};
}

void check_ids(const text::CLIPTokenizer& tokenizer, const std::vector<std::int64_t>& ids) {
  const auto known = [&](std::int64_t id) { return id >= 0 && id < tokenizer.vocab_size(); };
  promise(std::all_of(ids.begin(), ids.end(), known), "an id outside the vocabulary");
}

/// Ids lie in the vocabulary, and the files that are written make the same ones.
void run_tokenizer(std::string_view bytes) {
  const auto [spoken, files] = split_files(bytes);
  if (files.empty()) {
    static const auto clip = text::CLIPTokenizer::clip();
    return check_ids(clip, clip.encode(spoken));
  }
  const auto tokenizer = text::CLIPTokenizer::from_texts(files, "input");
  const auto again = text::CLIPTokenizer::from_texts(tokenizer.texts(), "again");
  for (const auto& text : {spoken, std::string("abc <new1> a!"), std::string()}) {
    const auto ids = tokenizer.encode(text);
    check_ids(tokenizer, ids);
    check_ids(tokenizer, tokenizer.encode_padded(text));
    promise(again.encode(text) == ids, "a tokenizer that was written makes other ids");
  }
  promise(tokenizer.vocab_size() >= tokenizer.base_vocab_size(), "a vocabulary below its base");
}

std::vector<std::string> tokenizer_seeds() {
  return {
      "a photo of <new1> caf\u00e9 \u4e2d\u6587 don't 12",
      "ab abc <new1>\n=== added_tokens.json\n{\"<new2>\":13}\n=== merges.txt\n#version: 0.2\na b\n"
      "a b</w>\nab c</w>\n=== special_tokens_map.json\n{\"bos_token\": \"<|startoftext|>\", "
      "\"eos_token\": {\"content\": \"<|endoftext|>\"}, \"additional_special_tokens\": "
      "[\"<new1>\"]}\n=== tokenizer_config.json\n{\"pad_token\": \"<|endoftext|>\", "
      "\"model_max_length\": 77, \"added_tokens_decoder\": {\"12\": {\"content\": \"<new1>\"}}}\n"
      "=== vocab.json\n{\"a\": 0, \"b\": 1, \"c\": 2, \"a</w>\": 3, \"b</w>\": 4, \"c</w>\": 5, "
      "\"ab\": 6, \"ab</w>\": 7, \"abc</w>\": 8, \"!</w>\": 9, \"<|startoftext|>\": 10, "
      "\"<|endoftext|>\": 11}\n"};
}

// ---- Captions ----

/// A folder with one picture: a zero byte ends the caption, behind it is concept.json.
void run_captions(std::string_view bytes) {
  static const auto folder = [] {
    auto path = scratch_folder() / "data";
    fs::create_directories(path / "images");
    fs::create_directories(path / "captions");
    io::write_png(path / "images" / "a.png", torch::zeros({8, 8, 3}, torch::kUInt8));
    return path;
  }();
  const auto end = bytes.find('\0');
  scratch_file("data/captions/a.txt", bytes.substr(0, end));
  fs::remove(folder / "concept.json");
  if (end != bytes.npos) scratch_file("data/concept.json", bytes.substr(end + 1));
  const auto problems = tune::check_dataset(folder).problems;
  for (const auto& problem : problems) promise(is_utf8(problem), "a problem that is not UTF-8");
  const auto dataset = tune::load_dataset(folder);
  promise(problems.empty(), "a folder with problems was read");
  for (const auto& picture : dataset.pictures) {
    promise(is_utf8(picture.caption.text), "a caption that is not UTF-8");
  }
}

std::vector<std::string> caption_seeds() {
  using namespace std::string_literals;
  return {"a photo of <TOK>, in the rain\n",
          "<fox1> <fox2>\0{\"words\": [\"<fox1>\", \"<fox2>\"], \"class_word\": \"fox\", "
          "\"caption\": \"<TOK>\", \"templates\": \"photo\"}"s};
}

}  // namespace

std::vector<Target> text_targets() {
  const std::vector<std::string> json_words = {
      "{",       "}",       "[",    "]",    ",",    ":",        "\"",     "\"\"",
      "\\u0000", "\\ud800", "null", "true", "\xff", "\xc3\xa9", "\"a\":", "1e999"};
  const std::vector<std::string> yaml_words = {
      "- ",          ": ",   "? ", "\n",           "\n  ", "\n    ", "#", "|", ">",     "'",
      "\"",          "&a ",  "*a", "!!str ",       "{",    "}",      "[", "]", "---\n", "...\n",
      "%YAML 1.2\n", "<<: ", "\t", "\xef\xbb\xbf", "~"};
  const std::vector<std::string> tokenizer_words = {"=== vocab.json\n",
                                                    "=== merges.txt\n",
                                                    "=== added_tokens.json\n",
                                                    "=== tokenizer_config.json\n",
                                                    "=== special_tokens_map.json\n",
                                                    "</w>",
                                                    "<|endoftext|>",
                                                    "\"added_tokens_decoder\": {",
                                                    "\"content\": ",
                                                    "\"model_max_length\": ",
                                                    "{",
                                                    "}",
                                                    "\xff",
                                                    "\xe2\x80\xa9",
                                                    "\xce\xa3"};
  const std::vector<std::string> caption_words = {"<TOK>",        "<fox1>",
                                                  ", ",           "\n",
                                                  "\r\n",         std::string(1, '\0'),
                                                  "\"words\": [", "\xef\xbb\xbf",
                                                  "\xff",         "\"class_word\": ",
                                                  "\"caption\": "};
  return {{"json", run_json, json_seeds, json_words},
          {"yaml", run_yaml, yaml_seeds, yaml_words},
          {"tokenizer", run_tokenizer, tokenizer_seeds, tokenizer_words},
          {"captions", run_captions, caption_seeds, caption_words}};
}

}  // namespace mos::fuzz
