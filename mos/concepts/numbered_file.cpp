#include "mos/concepts/numbered_file.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <string_view>

#include "mos/base/json.h"
#include "mos/base/text.h"
#include "mos/concepts/numbered_layers.h"

namespace mos::concepts {
namespace fs = std::filesystem;

using checkpoint::Part;

namespace {

constexpr std::string_view kWordEntry = "<embed>";  ///< Metadata of a word.

/// `unet:12:up`.
struct NumberedKey {
  Part network = Part::kUNet;
  std::size_t number = 0;
  LoraPart part = LoraPart::kUp;
};

/// The network that is called so, as a folder is.
std::optional<Part> tuned_part(std::string_view name) {
  for (const auto part : checkpoint::kTunedParts) {
    if (name == folder_of(part)) return part;
  }
  return std::nullopt;
}

std::optional<NumberedKey> parse(std::string_view key) {
  const auto first = key.find(':'), last = key.rfind(':');
  if (first == key.npos || first == last) return std::nullopt;
  const auto network = key.substr(0, first), part = key.substr(last + 1);
  const auto number = number_in<std::size_t>(key.substr(first + 1, last - first - 1));
  const auto of_network = tuned_part(network);
  if (!of_network || (part != "up" && part != "down") || !number) return std::nullopt;
  return NumberedKey{*of_network, *number, part == "up" ? LoraPart::kUp : LoraPart::kDown};
}

/// What the metadata says of a network's modules; what the program tunes by default if nothing.
std::vector<std::string> classes_of(const io::TensorFile& file, Part network) {
  const auto entry = file.metadata.find(std::string(folder_of(network)));
  if (entry != file.metadata.end()) {
    const auto json = parse_json(
        entry->second, fmt::format("{}: metadata \"{}\"", file.path.string(), folder_of(network)));
    std::vector<std::string> classes;
    for (const auto& name : json)
      classes.push_back(name.is_string() ? name.get<std::string>() : "");
    return classes;
  }
  if (network == Part::kTextEncoder) return {"CLIPAttention"};
  return {"CrossAttention", "Attention", "GEGLU"};
}

/// The layers of one network, in the order of their numbers.
class Layers {
 public:
  Layers(const io::TensorFile& file, Part network, NumberedKeys& keys)
      : network_(network), keys_(keys) {
    const auto classes = classes_of(file, network);
    const auto layers = layers_of_classes(network, classes);
    if (layers) {
      layers_ = *layers;
    } else {
      keys.unknown_classes = fmt::format("{}", fmt::join(classes, ", "));
    }
  }
  Layers(Part network, std::vector<std::string> layers, NumberedKeys& keys)
      : network_(network), layers_(std::move(layers)), keys_(keys) {}

  void add(const std::string& key, std::size_t number, LoraPart part) {
    if (number >= layers_.size()) return;
    keys_.layers[key] = {LoraDialect::kSimo, network_, layers_[number], part};
  }

 private:
  Part network_;
  std::vector<std::string> layers_;
  NumberedKeys& keys_;
};

void read_named(const io::TensorFile& file, NumberedKeys& keys) {
  std::map<Part, Layers> of_network;
  for (const auto& [key, tensor] : file.tensors) {
    const auto numbered = parse(key);
    if (!numbered) continue;
    of_network.try_emplace(numbered->network, file, numbered->network, keys)
        .first->second.add(key, numbered->number, numbered->part);
  }
}

/// Words are called in the metadata; a word without LoRA is any diffusers embedding.
void read_words(const io::TensorFile& file, NumberedKeys& keys) {
  for (const auto& [name, value] : file.metadata) {
    if (value == kWordEntry && file.tensors.contains(name)) keys.words.insert(name);
  }
}

// ---- Lists ----

/// Whether the keys are 0, 1, 2, … of an even number of matrices, each pair of which multiplies.
bool is_list(const io::TensorFile& file) {
  const auto count = file.tensors.size();
  if (count == 0 || count % 2 != 0) return false;
  for (std::size_t i = 0; i < count; i += 2) {
    const auto up = file.tensors.find(std::to_string(i));
    const auto down = file.tensors.find(std::to_string(i + 1));
    const bool fits = up != file.tensors.end() && down != file.tensors.end() &&
                      up->second.dim() == 2 && down->second.dim() == 2 &&
                      up->second.size(1) == down->second.size(0);
    if (!fits) return false;
  }
  return true;
}

/// All layers of CLIP's attention are squares of one size; the U-Net's differ.
bool is_text_list(const io::TensorFile& file) {
  const auto width = file.tensors.at("0").size(0);
  for (std::size_t i = 0; i < file.tensors.size(); i += 2) {
    if (file.tensors.at(std::to_string(i)).size(0) != width) return false;
    if (file.tensors.at(std::to_string(i + 1)).size(1) != width) return false;
  }
  return true;
}

/// The modules whose layers are as many as the list has pairs: GEGLU came later.
std::vector<std::string> layers_of_list(Part network, std::size_t pairs) {
  if (network == Part::kTextEncoder) return *layers_of_classes(network, {"CLIPAttention"});
  for (const auto& classes : {std::vector<std::string>{"CrossAttention", "GEGLU"},
                              std::vector<std::string>{"CrossAttention"}}) {
    auto layers = *layers_of_classes(network, classes);
    if (layers.size() == pairs) return layers;
  }
  return {};
}

void read_list(const io::TensorFile& file, NumberedKeys& keys) {
  const auto pairs = file.tensors.size() / 2;
  const auto network = is_text_list(file) ? Part::kTextEncoder : Part::kUNet;
  auto names = layers_of_list(network, pairs);
  if (names.empty()) keys.unknown_classes = fmt::format("a list of {} pairs", pairs);
  Layers layers(network, std::move(names), keys);
  for (std::size_t i = 0; i < pairs; ++i) {
    layers.add(std::to_string(2 * i), i, LoraPart::kUp);
    layers.add(std::to_string(2 * i + 1), i, LoraPart::kDown);
  }
}

bool is_entry_of_this_layout(const std::string& name, const std::string& value) {
  const auto network = name.substr(0, name.find(':'));
  return value == kWordEntry || tuned_part(network);
}

}  // namespace

std::string NumberedKeys::why_not(const std::string& key) const {
  const bool is_numbered = parse(key) || number_in<std::size_t>(key);
  if (!is_numbered) return "not part of a concept";
  return unknown_classes.empty() ? "there is no layer of this number"
                                 : "the layers of " + unknown_classes + " are not known by number";
}

NumberedKeys read_numbered_keys(const io::TensorFile& file) {
  NumberedKeys keys;
  if (is_list(file)) {
    read_list(file, keys);
  } else {
    read_named(file, keys);
  }
  if (!keys.layers.empty()) read_words(file, keys);
  keys.metadata = file.metadata;
  if (!keys.layers.empty()) {
    std::erase_if(keys.metadata, [](const auto& entry) {
      return is_entry_of_this_layout(entry.first, entry.second);
    });
  }
  return keys;
}

std::vector<fs::path> companions_of(const io::TensorFile& file) {
  std::vector<fs::path> found;
  if (file.path.extension() != ".pt" || !is_list(file) || is_text_list(file)) return found;
  for (const auto& kind :
       {fmt::format(".{}.pt", folder_of(Part::kTextEncoder)), std::string(".ti.pt")}) {
    auto beside = file.path;
    beside.replace_extension(kind);
    if (fs::exists(beside)) found.push_back(beside);
  }
  return found;
}

}  // namespace mos::concepts
