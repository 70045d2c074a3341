#include "mos/concepts/concept_file.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string_view>

#include "mos/base/error.h"
#include "mos/base/json.h"
#include "mos/io/safetensors.h"
#include "mos/io/torch_file.h"

namespace mos::concepts {

namespace {

constexpr std::string_view kWordPrefix = "new_concept_embedding/";
constexpr std::string_view kTextPrefix = "text_encoder/";
constexpr std::string_view kUNetPrefix = "unet/";
constexpr std::string_view kDownSuffix = ".lora_down.weight";
constexpr std::string_view kUpSuffix = ".lora_up.weight";
constexpr const char* kWordOrder = "words";  ///< Metadata: JSON list of the words in prompt order.

bool starts_with(std::string_view key, std::string_view prefix) {
  return key.substr(0, prefix.size()) == prefix;
}

bool ends_with(std::string_view key, std::string_view suffix) {
  return key.size() > suffix.size() && key.substr(key.size() - suffix.size()) == suffix;
}

torch::Tensor as_float(const torch::Tensor& tensor) {
  return tensor.to(torch::kFloat32).contiguous();
}

/// Puts one factor where it belongs; false if `key` is no factor.
bool take_factor(LoraPairs& pairs, std::string_view key, const torch::Tensor& tensor) {
  const bool down = ends_with(key, kDownSuffix);
  if (!down && !ends_with(key, kUpSuffix)) return false;
  const auto layer =
      std::string(key.substr(0, key.size() - (down ? kDownSuffix : kUpSuffix).size()));
  (down ? pairs[layer].down : pairs[layer].up) = as_float(tensor);
  return true;
}

void check_halves(const LoraPairs& pairs, std::string_view prefix,
                  std::vector<std::string>& wrong) {
  for (const auto& [layer, pair] : pairs) {
    const auto name = std::string(prefix) + layer;
    if (!pair.down.defined()) wrong.push_back(name + std::string(kDownSuffix) + " (missing)");
    if (!pair.up.defined()) wrong.push_back(name + std::string(kUpSuffix) + " (missing)");
    if (!pair.down.defined() || !pair.up.defined()) continue;
    const bool fits = pair.down.dim() >= 2 && pair.up.dim() == pair.down.dim() &&
                      pair.up.size(1) == pair.down.size(0) && pair.down.size(0) > 0;
    if (!fits) {
      wrong.push_back(fmt::format("{} (down {} and up {} do not multiply)", name,
                                  io::shape_text(pair.down.sizes()),
                                  io::shape_text(pair.up.sizes())));
    }
  }
}

/// The order of a prompt: as recorded, else by name (`<thanos1>` before `<thanos2>`).
void sort_words(ConceptDelta& delta, const std::string& origin) {
  const auto recorded = delta.metadata.find(kWordOrder);
  if (recorded == delta.metadata.end()) return;
  const auto order = parse_json(recorded->second, origin + ": metadata \"words\"");
  const auto position = [&](const ConceptWord& word) {
    return std::find(order.begin(), order.end(), word.word) - order.begin();
  };
  std::stable_sort(delta.words.begin(), delta.words.end(),
                   [&](const auto& a, const auto& b) { return position(a) < position(b); });
}

ConceptDelta from_state_dict(const io::StateDict& dict, const std::string& origin,
                             std::map<std::string, std::string> metadata) {
  ConceptDelta delta;
  delta.metadata = std::move(metadata);
  std::vector<std::string> wrong;
  for (const auto& [key, tensor] : dict) {
    if (starts_with(key, kWordPrefix) && tensor.dim() == 2 && tensor.size(0) > 0) {
      delta.words.push_back({key.substr(kWordPrefix.size()), as_float(tensor)});
    } else if (!(starts_with(key, kTextPrefix) &&
                 take_factor(delta.text_encoder, std::string_view(key).substr(kTextPrefix.size()),
                             tensor)) &&
               !(starts_with(key, kUNetPrefix) &&
                 take_factor(delta.unet, std::string_view(key).substr(kUNetPrefix.size()),
                             tensor))) {
      wrong.push_back(key + " (not part of a concept)");
    }
  }
  check_halves(delta.text_encoder, kTextPrefix, wrong);
  check_halves(delta.unet, kUNetPrefix, wrong);
  if (!wrong.empty()) {
    throw Error(ErrorKind::kMismatch,
                fmt::format("{} is not a concept file we can use; {} keys do not fit: {}", origin,
                            wrong.size(), fmt::join(wrong, ", ")));
  }
  if (delta.words.empty() && delta.text_encoder.empty() && delta.unet.empty()) {
    throw Error(ErrorKind::kFormat, origin + " holds no concept: no words and no LoRA");
  }
  sort_words(delta, origin);
  return delta;
}

/// The authors' files keep everything under one top key.
io::StateDict without_params_level(const io::StateDict& dict) {
  constexpr std::string_view kParams = "params/";
  io::StateDict inner;
  for (const auto& [key, tensor] : dict) {
    inner[starts_with(key, kParams) ? key.substr(kParams.size()) : key] = tensor;
  }
  return inner;
}

void put_pairs(io::StateDict& dict, std::string_view prefix, const LoraPairs& pairs) {
  for (const auto& [layer, pair] : pairs) {
    const auto name = std::string(prefix) + layer;
    dict[name + std::string(kDownSuffix)] = as_float(pair.down);
    const auto up = as_float(pair.up);
    dict[name + std::string(kUpSuffix)] = pair.scale == 1.0 ? up : up * pair.scale;
  }
}

}  // namespace

ConceptDelta load_concept(const std::filesystem::path& path) {
  const auto extension = path.extension().string();
  if (extension == ".pth" || extension == ".pt" || extension == ".ckpt" || extension == ".bin") {
    return from_state_dict(without_params_level(io::flatten_tensors(io::read_torch_file(path))),
                           path.string(), {});
  }
  const io::SafetensorsFile file(path);
  io::StateDict dict;
  for (const auto& info : file.tensors()) dict[info.name] = file.get(info.name);
  return from_state_dict(dict, path.string(), file.metadata());
}

void save_concept(const std::filesystem::path& path, const ConceptDelta& delta) {
  io::StateDict dict;
  Json order = Json::array();
  for (const auto& word : delta.words) {
    dict[std::string(kWordPrefix) + word.word] = as_float(word.rows);
    order.push_back(word.word);
  }
  put_pairs(dict, kTextPrefix, delta.text_encoder);
  put_pairs(dict, kUNetPrefix, delta.unet);
  auto metadata = delta.metadata;
  metadata[kWordOrder] = order.dump();
  io::save_safetensors(path, dict, metadata);
}

}  // namespace mos::concepts
