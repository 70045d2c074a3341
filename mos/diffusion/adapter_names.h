#pragma once

#include <string>

#include "mos/io/state_dict.h"
#include "mos/nn/unet.h"
#include "mos/nn/vae.h"

/// Names of adapters' tensors in the code that they come from, and in diffusers.
namespace mos::diffusion {

/// Whether these are the tensors of a ControlNet, in either naming.
bool is_controlnet(const io::StateDict& tensors);
/// Whether these are the tensors of a T2I-Adapter, in either naming.
bool is_t2i_adapter(const io::StateDict& tensors);

/// Whether a tensor beside a ControlNet is of its base model: the first published files
/// (control_sd15_canny.pth …) are whole models with a ControlNet.
bool is_of_base_model(const std::string& key);

/// The same tensors under diffusers' names; keys that follow no rule keep theirs.
io::StateDict t2i_adapter_tensors(const io::StateDict& tensors);
/// `unet` is that of the model that the ControlNet is for.
io::StateDict controlnet_tensors(const io::StateDict& tensors, const nn::UNetConfig& unet);

}  // namespace mos::diffusion
