#pragma once

#include <torch/types.h>

#include <filesystem>
#include <variant>

#include "mos/nn/controlnet.h"
#include "mos/nn/t2i_adapter.h"

/// Networks that steer a U-Net by a condition picture, from files of everybody's dialects.
namespace mos::diffusion {

struct Model;

/// A T2I-Adapter or a ControlNet.
using SpatialAdapter = std::variant<nn::T2IAdapter, nn::ControlNetModel>;

/// Reads a diffusers folder (config.json and its weights), or a single file: the T2I-Adapters of
/// TencentARC (`body.0.block1.weight` …), the ControlNets of lllyasviel (`control_model.…`, alone
/// or beside a whole model), or either under diffusers' names; safetensors or a file of torch.save.
/// The sizes of a single file follow from its tensors; that it is a shuffle ControlNet, from its
/// name. Dtype and device are those of the model's U-Net.
/// Throws mos::Error: kIo, kFormat for files that are no adapter, kMismatch for one that is for
/// another model than `model` or has missing or unexpected keys (all are listed).
SpatialAdapter load_adapter(const std::filesystem::path& path, const Model& model);

/// Channels of the condition picture: 3, or 1 for grey.
std::int64_t picture_channels(const SpatialAdapter& adapter);

}  // namespace mos::diffusion
