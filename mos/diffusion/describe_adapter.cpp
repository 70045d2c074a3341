#include "mos/diffusion/describe_adapter.h"

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <vector>

#include "mos/checkpoint/family.h"
#include "mos/diffusion/adapter_names.h"

namespace mos::diffusion {
namespace {

using Channels = std::vector<std::int64_t>;

/// Of Stable Diffusion 1.x and 2.x alike; the U-Net of XL has three levels.
const Channels kLevels = {320, 640, 1280, 1280};
const Channels kLevelsOfXl = {320, 640, 1280};

/// Size `dim` of the first tensor among `keys` that is there; 0 without.
std::int64_t size_of_first(const io::StateDict& tensors, const std::vector<std::string>& keys,
                           std::int64_t dim) {
  for (const auto& key : keys) {
    const auto found = tensors.find(key);
    if (found != tensors.end() && found->second.dim() > dim) return found->second.size(dim);
  }
  return 0;
}

const char* picture_kind(std::int64_t channels) {
  return channels == 1 ? "grey" : channels == 3 ? "colour" : "of another kind";
}

const char* family_of_levels(const Channels& channels) {
  if (channels == kLevels) return "Stable Diffusion 1.x and 2.x";
  if (channels == kLevelsOfXl) return "Stable Diffusion XL, which is not supported";
  return "a model of another size";
}

Json describe_t2i(const io::StateDict& stored) {
  const auto tensors = t2i_adapter_tensors(stored);
  Channels channels;
  while (true) {
    const auto level = fmt::format("adapter.body.{}.", channels.size());
    const auto width =
        size_of_first(tensors, {level + "out_conv.weight", level + "resnets.0.block1.weight"}, 0);
    if (width == 0) break;
    channels.push_back(width);
  }
  const bool is_xl = channels == kLevelsOfXl;
  const std::int64_t positions = is_xl ? 16 * 16 : 8 * 8;  // pixels that become one
  const auto inputs =
      size_of_first(tensors, {"adapter.conv_in.weight", "adapter.body.0.in_conv.weight"}, 1);
  return {{"kind", checkpoint::name_of(checkpoint::Content::kAdapter)},
          {"pictures", picture_kind(inputs / positions)},
          {"loads onto", {{"family", family_of_levels(channels)}, {"channels", channels}}}};
}

Json describe_controlnet(const io::StateDict& tensors) {
  constexpr std::string_view kCrossKey = "attn2.to_k.weight";
  std::int64_t width = 0;
  for (const auto& [key, tensor] : tensors) {
    if (is_of_base_model(key) || !key.ends_with(kCrossKey) || tensor.dim() != 2) continue;
    width = tensor.size(1);
  }
  const auto inputs =
      size_of_first(tensors,
                    {"controlnet_cond_embedding.conv_in.weight",
                     "control_model.input_hint_block.0.weight", "input_hint_block.0.weight"},
                    1);
  const auto channels = size_of_first(
      tensors,
      {"conv_in.weight", "control_model.input_blocks.0.0.weight", "input_blocks.0.0.weight"}, 0);
  return {{"kind", checkpoint::name_of(checkpoint::Content::kControlNet)},
          {"pictures", picture_kind(inputs)},
          {"loads onto",
           {{"family", checkpoint::family_of_text_width(width)},
            {"cross-attention width", width},
            {"channels", channels}}}};
}

}  // namespace

std::optional<Json> describe_adapter(const io::TensorFile& file) {
  if (is_controlnet(file.tensors)) return describe_controlnet(file.tensors);
  if (is_t2i_adapter(file.tensors)) return describe_t2i(file.tensors);
  return std::nullopt;
}

}  // namespace mos::diffusion
