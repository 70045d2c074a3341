#include "mos/diffusion/adapter_names.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>

#include "mos/checkpoint/key_map.h"
#include "mos/checkpoint/parts.h"

namespace mos::diffusion {

namespace {

constexpr std::string_view kControlPrefix = "control_model.";
constexpr std::string_view kUNetFolder = "unet/";
constexpr std::int64_t kOriginalBlocksPerLevel = 2;  // nums_rb of every published T2I-Adapter

bool any_key(const io::StateDict& tensors, std::string_view start) {
  return std::any_of(tensors.begin(), tensors.end(),
                     [&](const auto& entry) { return entry.first.starts_with(start); });
}

/// Cuts the number off the start of `text` ("12.block1.weight" -> 12, "block1.weight").
std::optional<std::int64_t> take_number(std::string_view& text) {
  std::int64_t number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  const auto digits = static_cast<std::size_t>(parsed.ptr - text.data());
  if (parsed.ec != std::errc() || digits == text.size() || text[digits] != '.') return std::nullopt;
  text.remove_prefix(digits + 1);
  return number;
}

/// `body.N.` of the full adapter: block N of all levels; of the light one: level N, whose blocks
/// are `body.N.body.M.`.
std::string t2i_key(std::string_view key, bool light) {
  if (key.starts_with("conv_in.")) return fmt::format("adapter.{}", key);
  auto rest = key;
  constexpr std::string_view kBody = "body.";
  if (!rest.starts_with(kBody)) return std::string(key);
  rest.remove_prefix(kBody.size());
  const auto number = take_number(rest);
  if (!number) return std::string(key);
  const auto level = light ? *number : *number / kOriginalBlocksPerLevel;
  if (rest.starts_with("in_conv.") || rest.starts_with("out_conv.")) {
    return fmt::format("adapter.body.{}.{}", level, rest);
  }
  if (!light) {
    return fmt::format("adapter.body.{}.resnets.{}.{}", level, *number % kOriginalBlocksPerLevel,
                       rest);
  }
  if (!rest.starts_with(kBody)) return std::string(key);
  rest.remove_prefix(kBody.size());
  return fmt::format("adapter.body.{}.resnets.{}", level, rest);
}

/// A layer of the original ControlNet (cldm/cldm.py) that no U-Net has.
std::optional<std::string> control_key(std::string_view rest) {
  if (rest.starts_with("middle_block_out.0.")) {
    return fmt::format("controlnet_mid_block.{}", rest.substr(rest.rfind('.') + 1));
  }
  if (rest.starts_with("zero_convs.")) {
    rest.remove_prefix(std::string_view("zero_convs.").size());
    const auto number = take_number(rest);  // leaves "0.weight"
    if (!number) return std::nullopt;
    return fmt::format("controlnet_down_blocks.{}.{}", *number, rest.substr(rest.rfind('.') + 1));
  }
  if (!rest.starts_with("input_hint_block.")) return std::nullopt;
  rest.remove_prefix(std::string_view("input_hint_block.").size());
  const auto number = take_number(rest);  // convolutions have even numbers, activations odd ones
  constexpr std::int64_t kLast = 14;
  if (!number) return std::nullopt;
  const auto place = *number == 0       ? std::string("conv_in")
                     : *number == kLast ? std::string("conv_out")
                                        : fmt::format("blocks.{}", *number / 2 - 1);
  return fmt::format("controlnet_cond_embedding.{}.{}", place, rest);
}

}  // namespace

bool is_controlnet(const io::StateDict& tensors) {
  return any_key(tensors, "controlnet_cond_embedding.") ||
         any_key(tensors, "control_model.input_hint_block.") ||
         any_key(tensors, "input_hint_block.");
}

bool is_t2i_adapter(const io::StateDict& tensors) {
  constexpr std::array kSigns = {"adapter.body.", "body.0.block", "body.0.body.", "body.0.in_conv.",
                                 "body.0.out_conv."};
  return std::any_of(kSigns.begin(), kSigns.end(),
                     [&](const char* sign) { return any_key(tensors, sign); });
}

bool is_of_base_model(const std::string& key) {
  return key.starts_with("model.diffusion_model.") || key.starts_with("first_stage_model.") ||
         key.starts_with("cond_stage_model.") || checkpoint::is_unused_key(key);
}

io::StateDict t2i_adapter_tensors(const io::StateDict& tensors) {
  const bool light = any_key(tensors, "body.0.body.");
  io::StateDict renamed;
  for (const auto& [key, tensor] : tensors) {
    renamed[key.starts_with("adapter.") ? key : t2i_key(key, light)] = tensor;
  }
  return renamed;
}

io::StateDict controlnet_tensors(const io::StateDict& tensors, const nn::UNetConfig& unet) {
  const checkpoint::KeyMap map({.unet = unet, .vae = {}});
  io::StateDict renamed;
  for (const auto& [key, tensor] : tensors) {
    std::string_view rest = key;
    const bool prefixed = rest.starts_with(kControlPrefix);
    if (prefixed) rest.remove_prefix(kControlPrefix.size());
    auto name = control_key(rest).value_or("");
    if (name.empty()) {
      const auto found = map.to_diffusers(fmt::format("model.diffusion_model.{}", rest));
      name = found.empty() ? key : found.front().substr(kUNetFolder.size());
    }
    renamed[name] = tensor;
  }
  return renamed;
}

}  // namespace mos::diffusion
