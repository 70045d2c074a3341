#include "mos/concepts/lora_collector.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <optional>

#include "mos/concepts/weight_forms.h"
#include "mos/io/state_dict.h"

namespace mos::concepts {

using checkpoint::Part;
using torch::Tensor;

namespace {

/// The form that a part belongs to; nothing for those that go with any.
std::optional<DenseForm> form_of(LoraPart part) {
  switch (part) {
    case LoraPart::kDown:
    case LoraPart::kUp:
    case LoraPart::kMid:
      return DenseForm::kProduct;
    case LoraPart::kHadamard1A:
    case LoraPart::kHadamard1B:
    case LoraPart::kHadamard2A:
    case LoraPart::kHadamard2B:
    case LoraPart::kHadamardT1:
    case LoraPart::kHadamardT2:
      return DenseForm::kHadamard;
    case LoraPart::kKronecker1:
    case LoraPart::kKronecker1A:
    case LoraPart::kKronecker1B:
    case LoraPart::kKronecker2:
    case LoraPart::kKronecker2A:
    case LoraPart::kKronecker2B:
    case LoraPart::kKroneckerT2:
      return DenseForm::kKronecker;
    case LoraPart::kDifference:
      return DenseForm::kDifference;
    case LoraPart::kSpectralShift:
      return DenseForm::kSpectral;
    case LoraPart::kSilenced:
      return DenseForm::kSilenced;
    case LoraPart::kBiasDifference:
    case LoraPart::kMagnitude:
    case LoraPart::kAlpha:
      break;
  }
  return std::nullopt;
}

std::optional<double> only_number(const Tensor& tensor) {
  if (tensor.numel() != 1) return std::nullopt;
  const double number = tensor.to(torch::kFloat64).item<double>();
  return std::isfinite(number) ? std::optional(number) : std::nullopt;
}

/// "the down factor", "hada_w1_a".
std::string described(LoraPart part) {
  if (part == LoraPart::kDown) return "the down factor";
  return part == LoraPart::kUp ? "the up factor" : std::string(name_of(part));
}

/// Numbers that the middle kernels of a whole file may multiply to, or any other matrix by itself,
/// 1 GB of float32. A LoCon of rank 64 on every convolution of Stable Diffusion makes 40 million; a
/// small file can claim factors whose product is beyond any memory.
constexpr std::int64_t kMaxElements = std::int64_t{1} << 28;

/// The product of `sizes`, or one more than may be.
std::int64_t bounded_product(std::initializer_list<std::int64_t> sizes) {
  std::int64_t product = 1;
  for (const auto size : sizes) {
    if (size > kMaxElements / std::max<std::int64_t>(product, 1)) return kMaxElements + 1;
    product *= size;
  }
  return product;
}

/// Numbers of the kernel that a Tucker decomposition becomes; 0 for another update.
std::int64_t elements_of_core(const LayerUpdate& update) {
  const auto* dense = update.dense();
  if (dense == nullptr || !dense->has(LoraPart::kMid)) return 0;
  const auto &mid = dense->parts.at(LoraPart::kMid), &down = dense->parts.at(LoraPart::kDown);
  return bounded_product({mid.size(0), down.size(1), mid.size(2), mid.size(3)});
}

bool is_beyond_memory(const LayerUpdate& update) {
  const auto shape = update.features();
  return !update.is_low_rank() && shape && bounded_product({shape->out, shape->in}) > kMaxElements;
}

/// The update of one layer out of its parts; reports what is amiss and then gives nothing.
class Assembly {
 public:
  using Parts = std::map<LoraPart, std::pair<std::string, Tensor>>;
  Assembly(const Parts& parts, std::string target, KeyReport& report)
      : parts_(parts), target_(std::move(target)), report_(report) {}

  /// `config` may be null.
  std::optional<LayerUpdate> update(const std::string& layer, const PeftConfig* config) {
    if (is_alpha_alone()) return std::nullopt;
    Dense update;
    if (!takes_one_form(update)) return std::nullopt;
    for (const auto& [part, found] : parts_) {
      if (part != LoraPart::kAlpha) update.parts[part] = found.second;
    }
    if (!is_complete(update) || !is_sound(update)) return std::nullopt;
    if (!takes_scale(update, layer, config)) return std::nullopt;
    for (const auto& [part, found] : parts_) report_.matched.push_back({found.first, target_});
    return as_pair_if_it_is(std::move(update));
  }

 private:
  /// It scales nothing: some trainers leave it where they drop factors of zeros.
  bool is_alpha_alone() {
    const bool alone = parts_.size() == 1 && parts_.contains(LoraPart::kAlpha);
    if (alone) {
      report_.unexpected.push_back(
          {parts_.begin()->second.first, "an alpha without factors that it scales"});
    }
    return alone;
  }

  bool takes_one_form(Dense& update) {
    std::optional<DenseForm> form;
    LoraPart first = LoraPart::kAlpha;
    for (const auto& [part, found] : parts_) {
      const auto own = form_of(part);
      if (!own) continue;
      if (form && *form != *own) {
        report_.wrong.push_back(fmt::format("{} (has {} and {}, which are two forms of an update)",
                                            target_, name_of(first), name_of(part)));
        return false;
      }
      form = own;
      first = part;
    }
    update.form = form.value_or(DenseForm::kDifference);
    return true;
  }

  bool is_complete(const Dense& update) {
    const auto& known = parts_.begin()->second.first;
    const auto missing = update.missing();
    for (const auto part : missing) {
      report_.missing.push_back(
          fmt::format("{} of {}, beside {}", described(part), target_, known));
    }
    return missing.empty();
  }

  bool is_sound(const Dense& update) {
    if (update.is_sound()) return true;
    for (const auto& [part, tensor] : update.parts) {
      if (part == LoraPart::kSilenced || tensor.is_floating_point()) continue;
      report_.wrong.push_back(
          fmt::format("{} ({} must be floating-point numbers, not {} {})", target_, described(part),
                      c10::toString(tensor.scalar_type()), io::shape_text(tensor.sizes())));
      return false;
    }
    report_.wrong.push_back(
        fmt::format("{} ({} do not multiply)", target_, LayerUpdate(update).shapes()));
    return false;
  }

  bool takes_scale(Dense& update, const std::string& layer, const PeftConfig* config) {
    const auto rank = update.rank();
    if (const auto found = parts_.find(LoraPart::kAlpha); found != parts_.end()) {
      const auto alpha = only_number(found->second.second);
      if (!alpha) return refuse_alpha(found->second);
      // LyCORIS: without a rank there is nothing to divide by, and no scale (LoKr of two whole
      // matrices, full differences).
      if (rank > 0) update.scale = *alpha / static_cast<double>(rank);
      return true;
    }
    if (config == nullptr || update.form == DenseForm::kDifference || is_of_weight(update.form)) {
      return true;
    }
    if (config->form().value_or(update.form) != update.form) {
      report_.wrong.push_back(fmt::format(
          "{} (is of another form than the \"peft_type\" of PEFT's configuration)", target_));
      return false;
    }
    const auto told = config->rank(layer);
    if (told > 0 && rank > 0 && told != rank) {
      report_.wrong.push_back(
          fmt::format("{} (is of rank {}, PEFT's configuration says {})", target_, rank, told));
      return false;
    }
    const auto divisor = rank > 0 ? rank : told;
    if (divisor > 0) update.scale = config->scale(layer, divisor);
    return true;
  }

  bool refuse_alpha(const std::pair<std::string, Tensor>& alpha) {
    const auto what = alpha.second.numel() == 1
                          ? std::string("NaN or infinity, or of another type")
                          : "a tensor of shape " + io::shape_text(alpha.second.sizes());
    report_.wrong.push_back(
        fmt::format("{} (alpha must be one finite number, but is {})", alpha.first, what));
    return false;
  }

  static LayerUpdate as_pair_if_it_is(Dense update) {
    const bool is_pair = update.form == DenseForm::kProduct && update.parts.size() == 2;
    if (!is_pair) return update;
    return LowRank{.down = update.parts.at(LoraPart::kDown),
                   .up = update.parts.at(LoraPart::kUp),
                   .scale = update.scale};
  }

  const Parts& parts_;
  std::string target_;
  KeyReport& report_;
};

/// PEFT would start magnitudes that are not there from the weights, and paint something else.
void check_dora(Part network, const PeftConfig& config, const LayerUpdates& updates,
                KeyReport& report) {
  const auto has_magnitude = [](const auto& entry) {
    const auto* dense = entry.second.dense();
    return dense != nullptr && dense->has(LoraPart::kMagnitude);
  };
  if (!config.uses_dora() || updates.empty() || std::ranges::any_of(updates, has_magnitude)) return;
  report.missing.push_back(
      fmt::format("every lora_magnitude_vector of {}, where PEFT's configuration says \"use_dora\"",
                  folder_of(network)));
}

}  // namespace

std::string layer_target(Part network, std::string_view layer) {
  return fmt::format("{}/{}", folder_of(network), layer);
}

bool LoraCollector::take(const std::string& key, const Tensor& tensor) {
  const auto meaning = parse_lora_key(key);
  if (meaning) take(*meaning, key, tensor);
  return meaning.has_value();
}

void LoraCollector::take(const LoraKey& meaning, const std::string& key, const Tensor& tensor) {
  auto& parts = layers_[{meaning.network, meaning.layer}];
  // PEFT's magnitude is always one of outputs, [O] or [1,O,1,1]; LyCORIS' shape says of what it is.
  const bool of_outputs =
      meaning.dialect == LoraDialect::kPeft && meaning.part == LoraPart::kMagnitude;
  const auto [entry, fresh] =
      parts.try_emplace(meaning.part, key, of_outputs ? tensor.flatten() : tensor);
  ++dialects_[meaning.dialect];
  if (!meaning.adapter.empty()) adapters_.insert(meaning.adapter);
  if (!fresh) twice_.push_back(fmt::format("{} (is for the same as {})", key, entry->second.first));
}

void LoraCollector::finish(const PeftConfigs& configs, ConceptDelta& delta,
                           KeyReport& report) const {
  report.wrong.insert(report.wrong.end(), twice_.begin(), twice_.end());
  if (adapters_.size() > 1) {
    report.wrong.push_back(fmt::format("the adapters {} (a file can hold one to be used here)",
                                       fmt::join(adapters_, ", ")));
  }
  std::int64_t core_elements = 0;
  for (const auto& [place, parts] : layers_) {
    const auto& [network, layer] = place;
    const auto config = configs.find(network);
    auto update = Assembly(parts, layer_target(network, layer), report)
                      .update(layer, config == configs.end() ? nullptr : &config->second);
    if (!update) continue;
    core_elements += elements_of_core(*update);
    if (core_elements > kMaxElements || is_beyond_memory(*update)) {
      report.wrong.push_back(
          fmt::format("{} (its factors multiply to more than {} numbers, which no model has layers "
                      "for)",
                      layer_target(network, layer), kMaxElements));
      break;
    }
    delta.updates[network].emplace(layer, std::move(*update));
  }
  for (const auto& [network, updates] : delta.updates) {
    const auto config = configs.find(network);
    if (config != configs.end()) check_dora(network, config->second, updates, report);
  }
}

}  // namespace mos::concepts
