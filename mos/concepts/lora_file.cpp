#include "mos/concepts/lora_file.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "mos/concepts/dense_matrix.h"

namespace mos::concepts {

using torch::Tensor;

namespace {

bool is_matrix_or_kernel(const Tensor& factor) {
  return (factor.dim() == 2 || factor.dim() == 4) && factor.numel() > 0 &&
         factor.is_floating_point();
}

bool is_pointwise(const Tensor& factor) {
  return factor.dim() == 2 || (factor.size(2) == 1 && factor.size(3) == 1);
}

bool multiplies(const Tensor& up, const Tensor& down) {
  return is_matrix_or_kernel(down) && is_matrix_or_kernel(up) && is_pointwise(up) &&
         up.size(1) == down.size(0);
}

/// Elements that all middle kernels of a file may multiply into `down`, 1 GB of float32. A LoCon of
/// rank 64 on every convolution of Stable Diffusion makes 40 million; a small file can claim
/// factors whose product is beyond any memory.
constexpr std::int64_t kMaxMidElements = std::int64_t{1} << 28;

/// Elements of with_mid(down, mid), or one more than may be.
std::int64_t mid_elements(const Tensor& down, const Tensor& mid) {
  std::int64_t elements = 1;
  for (const auto size : {mid.size(0), down.size(1), mid.size(2), mid.size(3)}) {
    elements = size > kMaxMidElements / elements ? kMaxMidElements + 1 : elements * size;
    if (elements > kMaxMidElements || elements == 0) break;
  }
  return elements;
}

bool fits_mid(const Tensor& down, const Tensor& mid) {
  return mid.dim() == 4 && mid.is_floating_point() && is_matrix_or_kernel(down) &&
         is_pointwise(down) && mid.size(1) == down.size(0);
}

std::optional<double> number_in(const Tensor& tensor) {
  if (tensor.numel() != 1) return std::nullopt;
  const double number = tensor.to(torch::kFloat64).item<double>();
  return std::isfinite(number) ? std::optional(number) : std::nullopt;
}

bool pattern_names(std::string pattern, const std::string& layer) {
  if (pattern.starts_with('^')) pattern.erase(0, 1);
  return layer == pattern || layer.ends_with("." + pattern);
}

/// `config` is one that LoraConfig could have. PEFT: lora_alpha / r, or lora_alpha / √r with
/// rank-stabilised LoRA.
double peft_scale(const Json& config, const std::string& layer, std::int64_t rank) {
  const auto r = static_cast<double>(rank);
  double alpha = json_value(config, "lora_alpha", r);
  const auto patterns = json_value(config, "alpha_pattern", std::map<std::string, double>());
  for (const auto& [pattern, value] : patterns) {
    if (pattern_names(pattern, layer)) alpha = value;
  }
  return alpha / (json_value(config, "use_rslora", false) ? std::sqrt(r) : r);
}

/// In the dtype of `down` where that holds the number exactly.
Tensor alpha_tensor(const LowRank& pair) {
  const auto exact = torch::tensor(static_cast<float>(pair.alpha()));
  const auto narrow = exact.to(pair.down.scalar_type());
  return narrow.to(torch::kFloat32).equal(exact) ? narrow : exact;
}

void put_pairs(io::StateDict& dict, LoraKey key, const LayerUpdates& updates) {
  for (const auto& [layer, update] : updates) {
    const auto& pair = update.low_rank();
    key.layer = layer;
    const auto put = [&](LoraPart part, const Tensor& tensor) {
      key.part = part;
      dict[format_lora_key(key)] = tensor.contiguous();
    };
    put(LoraPart::kDown, pair.down);
    put(LoraPart::kUp, pair.up);
    const bool ours = key.dialect == LoraDialect::kOfficial && pair.scale != 1.0;
    if (ours || key.dialect == LoraDialect::kKohya) put(LoraPart::kAlpha, alpha_tensor(pair));
  }
}

/// One network's LoraConfig. The first pair gives the defaults, the others are patterns.
void put_config(Json& metadata, Network network, const LayerUpdates& updates) {
  if (updates.empty()) return;
  const auto& first = updates.begin()->second.low_rank();
  Json ranks = Json::object(), alphas = Json::object(), targets = Json::array();
  for (const auto& [layer, update] : updates) {
    const auto& pair = update.low_rank();
    targets.push_back(layer);
    if (pair.rank() != first.rank()) ranks[layer] = pair.rank();
    if (pair.alpha() != first.alpha()) alphas[layer] = pair.alpha();
  }
  const auto put = [&](const char* name, Json value) {
    metadata[fmt::format("{}.{}", name_of(network), name)] = std::move(value);
  };
  put("alpha_pattern", std::move(alphas));
  put("lora_alpha", first.alpha());
  put("r", first.rank());
  put("rank_pattern", std::move(ranks));
  put("target_modules", std::move(targets));
}

bool all_scales_are_one(const LayerUpdates& updates) {
  return std::all_of(updates.begin(), updates.end(),
                     [](const auto& entry) { return entry.second.low_rank().scale == 1.0; });
}

}  // namespace

std::string layer_target(Network network, std::string_view layer) {
  return fmt::format("{}/{}", name_of(network), layer);
}

ConceptDelta with_folded_scales(ConceptDelta delta) {
  for (auto* updates : {&delta.text_encoder, &delta.unet}) {
    for (auto& [layer, update] : *updates) {
      auto& pair = update.low_rank();
      if (pair.scale != 1.0) pair.up = pair.up.to(torch::kFloat32) * pair.scale;
      pair.scale = 1.0;
    }
  }
  return delta;
}

bool LoraCollector::take(const std::string& key, const Tensor& tensor) {
  auto parsed = parse_lora_key(key);
  if (!parsed) return false;
  auto& parts = layers_[{parsed->network, std::move(parsed->layer)}].by_part;
  if (!parts.try_emplace(parsed->part, key, tensor).second) return false;  // said twice
  ++dialects_[parsed->dialect];
  return true;
}

namespace {

/// The pair of one layer out of its parts; reports what is amiss and then gives nothing.
class Pairing {
 public:
  using Found = std::map<LoraPart, std::pair<std::string, Tensor>>;
  Pairing(const Found& parts, std::string target, KeyReport& report)
      : parts_(parts), target_(std::move(target)), report_(report) {}

  /// Elements that with_mid() makes of these parts; 0 when they have no middle that fits.
  std::int64_t elements_of_mid() const {
    const bool all = has(LoraPart::kMid) && has(LoraPart::kDown) &&
                     fits_mid(tensor(LoraPart::kDown), tensor(LoraPart::kMid));
    return all ? mid_elements(tensor(LoraPart::kDown), tensor(LoraPart::kMid)) : 0;
  }

  void refuse_size() {
    report_.wrong.push_back(
        fmt::format("{} (its middle kernels multiply to more than {} numbers, which no model has "
                    "layers for)",
                    target_, kMaxMidElements));
  }

  /// `config` may be null.
  std::optional<LowRank> pair(const std::string& layer, const Json& config) {
    if (!has_both_halves()) return std::nullopt;
    LowRank result{.down = tensor(LoraPart::kDown), .up = tensor(LoraPart::kUp)};
    if (has(LoraPart::kMid)) {
      const auto& mid = tensor(LoraPart::kMid);
      if (!fits_mid(result.down, mid)) return refuse_shapes();
      result.down = with_mid(result.down, mid);
    }
    if (!multiplies(result.up, result.down)) return refuse_shapes();
    if (has(LoraPart::kAlpha)) {
      const auto alpha = number_in(tensor(LoraPart::kAlpha));
      if (!alpha) return refuse_alpha();
      result.scale = *alpha / static_cast<double>(result.rank());
    } else if (!config.is_null()) {
      result.scale = peft_scale(config, layer, result.rank());
    }
    for (const auto& [part, found] : parts_) report_.matched.push_back({found.first, target_});
    return result;
  }

 private:
  bool has(LoraPart part) const { return parts_.contains(part); }
  const Tensor& tensor(LoraPart part) const { return parts_.at(part).second; }

  bool has_both_halves() {
    const auto& known = parts_.begin()->second.first;
    bool both = true;
    for (const auto part : {LoraPart::kDown, LoraPart::kUp}) {
      if (has(part)) continue;
      report_.missing.push_back(fmt::format("the {} factor of {}, beside {}",
                                            part == LoraPart::kDown ? "down" : "up", target_,
                                            known));
      both = false;
    }
    return both;
  }

  std::optional<LowRank> refuse_shapes() {
    std::string shapes;
    for (const auto& [part, found] : parts_) {
      shapes += fmt::format("{}{} {}", shapes.empty() ? "" : ", ", name_of(part),
                            io::shape_text(found.second.sizes()));
    }
    report_.wrong.push_back(fmt::format("{} ({} do not multiply)", target_, shapes));
    return std::nullopt;
  }

  std::optional<LowRank> refuse_alpha() {
    const auto& [key, alpha] = parts_.at(LoraPart::kAlpha);
    report_.wrong.push_back(
        fmt::format("{} (alpha must be one finite number, but is a tensor of shape {})", key,
                    io::shape_text(alpha.sizes())));
    return std::nullopt;
  }

  const Found& parts_;
  std::string target_;
  KeyReport& report_;
};

}  // namespace

void LoraCollector::finish(const PeftConfigs& configs, ConceptDelta& delta,
                           KeyReport& report) const {
  std::int64_t mid_elements_so_far = 0;
  for (const auto& [place, parts] : layers_) {
    const auto& [network, layer] = place;
    const auto config = configs.find(network);
    Pairing pairing(parts.by_part, layer_target(network, layer), report);
    mid_elements_so_far += pairing.elements_of_mid();
    if (mid_elements_so_far > kMaxMidElements) {
      pairing.refuse_size();
      break;
    }
    auto pair = pairing.pair(layer, config == configs.end() ? Json() : config->second);
    if (!pair) continue;
    (network == Network::kUNet ? delta.unet : delta.text_encoder).emplace(layer, std::move(*pair));
  }
}

io::StateDict lora_tensors(const ConceptDelta& delta, LoraDialect dialect) {
  io::StateDict dict;
  put_pairs(dict, {.dialect = dialect, .network = Network::kTextEncoder}, delta.text_encoder);
  put_pairs(dict, {.dialect = dialect, .network = Network::kUNet}, delta.unet);
  return dict;
}

std::string peft_metadata(const ConceptDelta& delta) {
  if (all_scales_are_one(delta.text_encoder) && all_scales_are_one(delta.unet)) return "";
  Json metadata = Json::object();
  put_config(metadata, Network::kTextEncoder, delta.text_encoder);
  put_config(metadata, Network::kUNet, delta.unet);
  return metadata.dump();
}

PeftConfigs peft_configs(const std::map<std::string, std::string>& metadata,
                         const std::string& origin) {
  PeftConfigs configs;
  const auto entry = metadata.find(kAdapterMetadata);
  if (entry == metadata.end()) return configs;
  const auto where = fmt::format("{}: metadata \"{}\"", origin, kAdapterMetadata);
  const auto json = parse_json(entry->second, where);
  for (const auto& [name, value] : json.items()) {
    for (const auto network : {Network::kTextEncoder, Network::kUNet}) {
      const auto prefix = fmt::format("{}.", name_of(network));
      if (name.starts_with(prefix)) configs[network][name.substr(prefix.size())] = value;
    }
  }
  return configs;
}

}  // namespace mos::concepts
