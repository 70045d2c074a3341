#include "mos/world/vocabulary.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <set>
#include <sstream>
#include <string_view>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/base/json.h"
#include "mos/world/caption.h"

namespace mos::world {
namespace {

constexpr const char* kWordEnd = "</w>";

/// Words of prompts about people, things and places, beyond those of the captions.
constexpr const char* kPromptWords = R"(
  photo photograph picture image illustration rendering drawing painting sketch cartoon art artwork
  portrait poster render scene view close closeup cropped good bad bright dark clean dirty cool nice
  weird large small tiny huge little big tall short long wide old new young modern ancient style
  quality detailed simple plain beautiful pretty cute funny happy sad angry smiling sleeping watercolor
  oil pencil digital clay wooden plastic paper glass golden silver metal stone rendered render soft shiny colorful
  colourful low high resolution blurry pixelated jpeg corrupted worst best many few some one two three
  four five several both all no not without with only other another same different
  man woman boy girl child baby person people human character hero king queen prince knight pirate
  sailor soldier doctor nurse teacher student farmer pilot policeman officer firefighter clown ninja
  wizard witch fairy elf mermaid vampire zombie monster creature giant angel friend family couple
  crowd group actor singer dancer artist scientist
  animal pet toy doll teddy puppy kitten wolf deer sheep goat chicken bird eagle parrot swan mouse
  rat snake lizard shark dolphin bug spider ant worm bat camel zebra giraffe hippo kangaroo
  object thing statue sculpture figure machine tool box bottle bowl plate cup mug glass vase lamp
  candle book letter pen pencil bag backpack hat cap crown glasses sunglasses shirt coat dress suit
  scarf shoe shoes boots gloves ring necklace watch phone computer television radio piano violin flute
  harp sword shield key door window table chair sofa bed desk shelf mirror carpet curtain wall floor
  roof stairs street road path bridge tower church temple palace cottage hut barn farm village town
  shop school hospital factory station airport harbor park garden playground zoo museum library kitchen
  bathroom bedroom office restaurant market stage
  place landscape sky cloud clouds sun moon star stars rain rainbow storm lightning fog wind ice fire
  smoke water wave waves river ocean island coast shore sand hill hills valley cliff cave rock rocks
  flower flowers field grass leaf leaves bush wood woods jungle swamp waterfall volcano glacier space planet mountain
  lavender dawn dusk day morning evening noon midnight spring summer autumn winter season
  food fruit bread cheese meat soup salad rice egg milk coffee tea juice chocolate candy cookie pie
  orange lemon cherry grape peach pear tomato carrot potato onion corn
  vehicle boat bike motorcycle taxi van wagon ship submarine plane jet spaceship racer wheel engine
  color colour brown cyan violet turquoise beige gold dark light pale bright
  wearing holding riding driving sitting standing walking running jumping flying swimming dancing
  playing eating drinking reading looking watching sleeping waiting working fighting singing
  is are was has have at by for from in into inside outside near behind front above below under over
  between beside around across along against through up down off out of on onto to toward with and or
  but as it its this that these those their his her my your our he she they them him we you i
  left right top bottom middle center side corner foreground background edge
  very really so too more most less just also while when where during after before again
  depicts shows shown seen made look like
)";

/// CLIP's printable stand-ins for the bytes 0…255, in the order of its vocabulary: bytes that print
/// stand for themselves, the others for the characters from U+0100 on.
std::vector<std::string> byte_symbols() {
  const auto prints = [](int byte) {
    return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
  };
  const auto utf8 = [](int code) {
    if (code < 0x80) return std::string(1, static_cast<char>(code));
    return std::string{static_cast<char>(0xC0 | (code >> 6)),
                       static_cast<char>(0x80 | (code & 0x3F))};
  };
  std::vector<std::string> symbols;
  for (int byte = 0; byte < 256; ++byte) {
    if (prints(byte)) symbols.push_back(utf8(byte));
  }
  for (int code = 0x100; symbols.size() < 256; ++code) symbols.push_back(utf8(code));
  return symbols;
}

using Symbols = std::vector<std::string>;

Symbols split_word(const std::string& word) {
  Symbols symbols;
  for (const char letter : word) symbols.emplace_back(1, letter);
  symbols.back() += kWordEnd;
  return symbols;
}

/// One step of byte-pair encoding: the pair becomes a symbol wherever it stands.
void merge_everywhere(Symbols& symbols, const std::pair<std::string, std::string>& pair) {
  if (symbols.size() < 2) return;
  Symbols merged;
  for (std::size_t i = 0; i < symbols.size(); ++i) {
    if (i + 1 < symbols.size() && symbols[i] == pair.first && symbols[i + 1] == pair.second) {
      merged.push_back(symbols[i] + symbols[i + 1]);
      ++i;
    } else {
      merged.push_back(symbols[i]);
    }
  }
  symbols = std::move(merged);
}

Json special_token(const std::string& content) {
  return {{"content", content},
          {"lstrip", false},
          {"normalized", true},
          {"rstrip", false},
          {"single_word", false}};
}

}  // namespace

std::vector<std::pair<std::string, std::string>> learn_merges(
    const std::vector<std::string>& words) {
  std::vector<Symbols> split;
  for (const auto& word : words) split.push_back(split_word(word));
  std::vector<std::pair<std::string, std::string>> merges;
  for (;;) {
    std::map<std::pair<std::string_view, std::string_view>, int> counts;  // views into `split`
    for (const auto& symbols : split) {
      for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
        ++counts[{symbols[i], symbols[i + 1]}];
      }
    }
    if (counts.empty()) return merges;
    const auto most = std::max_element(counts.begin(), counts.end(), [](auto& a, auto& b) {
      return a.second < b.second;  // of equals the first, so alphabetical order decides
    });
    const auto& pair = merges.emplace_back(most->first.first, most->first.second);
    for (auto& symbols : split) merge_everywhere(symbols, pair);
  }
}

std::vector<std::string> vocabulary_words() {
  // What is trained on, and what people will write: a word of several tokens is learnt worse.
  const auto words_of_captions = caption_words();
  std::set<std::string> words(words_of_captions.begin(), words_of_captions.end());
  std::istringstream stream(kPromptWords);
  for (std::string word; stream >> word;) words.insert(word);
  return {words.begin(), words.end()};
}

void write_vocabulary(const std::filesystem::path& directory, std::int64_t model_max_length) {
  Json vocabulary = Json::object();
  const auto add = [&vocabulary](const std::string& token) {
    const auto next = vocabulary.size();
    vocabulary.emplace(token, next);
  };
  const auto bytes = byte_symbols();
  // CLIP's sequence: bytes, bytes at the end of a word, merges, the two special tokens.
  for (const auto& symbol : bytes) add(symbol);
  for (const auto& symbol : bytes) add(symbol + kWordEnd);
  std::string merge_lines = "#version: 0.2\n";
  for (const auto& [left, right] : learn_merges(vocabulary_words())) {
    add(left + right);
    merge_lines += fmt::format("{} {}\n", left, right);
  }
  add("<|startoftext|>");
  add("<|endoftext|>");

  const Json special = {{"bos_token", special_token("<|startoftext|>")},
                        {"eos_token", special_token("<|endoftext|>")},
                        {"unk_token", special_token("<|endoftext|>")},
                        {"pad_token", "<|endoftext|>"}};
  Json configuration = special;
  configuration["errors"] = "replace";
  configuration["model_max_length"] = model_max_length;
  configuration["tokenizer_class"] = "CLIPTokenizer";

  const std::map<std::string, std::string> files = {
      {"vocab.json", vocabulary.dump() + "\n"},
      {"merges.txt", merge_lines},
      {"special_tokens_map.json", special.dump(2) + "\n"},
      {"tokenizer_config.json", configuration.dump(2) + "\n"}};
  for (const auto& [name, text] : files) {
    const auto path = directory / name;
    // A model's ids are of its tokenizer: another one would make it read other words.
    if (std::filesystem::exists(path) && read_text_file(path) != text) {
      throw Error(ErrorKind::kUsage, fmt::format("{} is of another tokenizer and is not replaced; "
                                                 "choose another place",
                                                 path.string()));
    }
  }
  make_folders(directory);
  for (const auto& [name, text] : files) write_text_file(directory / name, text);
}

}  // namespace mos::world
