#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "mos/nn/clip.h"
#include "mos/nn/unet.h"
#include "mos/nn/vae.h"

/// The names of the original code (CompVis ldm, OpenCLIP) and those of diffusers and transformers.
namespace mos::checkpoint {

/// Which code the text encoder of a single file is from.
enum class TextEncoderKind {
  kTransformers,  ///< SD 1.x: the same names under another prefix.
  kOpenClip,      ///< SD 2.x: blocks with one matrix for queries, keys and values.
};

/// Where a tensor of diffusers is in the original layout: `piece` of `pieces` equal parts, one
/// below the other, of the tensor `key`.
struct LdmPlace {
  std::string key;
  std::size_t piece = 0;
  std::size_t pieces = 1;
};

/// What decides which layers a model has, and so which names.
struct KeyMapSizes {
  nn::UNetConfig unet;
  nn::VaeConfig vae;
  std::int64_t text_layers = 12;
  TextEncoderKind text = TextEncoderKind::kTransformers;
};

/// Both directions of one table of rules, for all networks of a model. Keys of diffusers have their
/// folder in front: `unet/conv_in.weight` is `model.diffusion_model.input_blocks.0.0.weight`.
class KeyMap {
 public:
  explicit KeyMap(const KeyMapSizes& sizes);

  /// The tensors that `key` of the original layout holds, its pieces in order; none when no part of
  /// such a model has this key.
  std::vector<std::string> to_diffusers(std::string_view key) const;

  /// Where `key` of diffusers is; an empty key when no part of such a model has it.
  LdmPlace to_ldm(std::string_view key) const;

 private:
  void add(const std::string& ldm, const std::string& diffusers);
  void add_resnet(const std::string& ldm, const std::string& diffusers);
  void add_unet(const nn::UNetConfig& config);
  void add_vae_half(const nn::VaeConfig& config, std::string_view half);
  void add_open_clip(std::int64_t layers);

  /// Prefixes of keys that end where a layer does, or whole keys.
  std::map<std::string, std::vector<std::string>, std::less<>> diffusers_;
  std::map<std::string, LdmPlace, std::less<>> ldm_;
};

}  // namespace mos::checkpoint
