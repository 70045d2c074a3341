#include "mos/checkpoint/ldm_settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/base/log.h"
#include "mos/base/naming.h"
#include "mos/base/yaml.h"
#include "mos/checkpoint/parts.h"
#include "mos/io/mapped_tensor.h"

namespace mos::checkpoint {
namespace {

constexpr const char* kUNetKeys = "model.diffusion_model.";
constexpr const char* kVaeKeys = "first_stage_model.";
constexpr const char* kClipKeys = "cond_stage_model.transformer.";
constexpr const char* kOpenClipKeys = "cond_stage_model.model.";

constexpr std::int64_t kHeadWidth = 64;  ///< CLIP's everywhere, and the U-Net's in SD 2.x.
constexpr std::int64_t kHeads = 8;       ///< The U-Net's on every level of SD 1.x.
/// Counter of the file 512-base-ema.ckpt. 2.1-base predicts the noise as well, but its files have
/// no mark of it.
constexpr std::string_view kStepOfTheEpsilonModel = "875000";
/// A tensor of 2.x whose numbers training on v spreads wider than this (ComfyUI's
/// comfy/supported_models.py, SD20.model_type).
constexpr const char* kTellingBias =
    "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias";
constexpr double kSpreadOfVelocity = 0.09;

/// Reads sizes off the shapes of tensors; absent ones have size 0.
class Shapes {
 public:
  explicit Shapes(const io::StateDict& tensors) : tensors_(tensors) {}

  bool has(const std::string& key) const { return tensors_.contains(key); }

  std::int64_t size(const std::string& key, std::int64_t dimension) const {
    const auto found = tensors_.find(key);
    if (found == tensors_.end() || found->second.dim() <= dimension) return 0;
    return found->second.size(dimension);
  }

  std::int64_t dimensions(const std::string& key) const {
    const auto found = tensors_.find(key);
    return found == tensors_.end() ? 0 : found->second.dim();
  }

  /// How many of prefix0suffix, prefix1suffix, … there are.
  std::int64_t count(const std::string& prefix, const std::string& suffix) const {
    std::int64_t number = 0;
    while (has(fmt::format("{}{}{}", prefix, number, suffix))) ++number;
    return number;
  }

 private:
  const io::StateDict& tensors_;
};

/// One level of the U-Net as its input blocks show it.
struct Level {
  std::int64_t channels = 0;
  std::int64_t layers = 0;
  std::int64_t depth = 0;  ///< Transformer blocks; 0: no attention.
};

std::vector<Level> unet_levels(const Shapes& shapes) {
  std::vector<Level> levels(1);
  for (std::int64_t block = 1;; ++block) {
    const auto prefix = fmt::format("{}input_blocks.{}.", kUNetKeys, block);
    if (shapes.has(prefix + "0.op.weight")) {
      levels.emplace_back();
      continue;
    }
    if (!shapes.has(prefix + "0.in_layers.2.weight")) return levels;
    levels.back().channels = shapes.size(prefix + "0.in_layers.2.weight", 0);
    ++levels.back().layers;
    levels.back().depth = shapes.count(prefix + "1.transformer_blocks.", ".norm1.weight");
  }
}

Json unet_config(const Shapes& shapes, std::int64_t sample_size) {
  const auto levels = unet_levels(shapes);
  const bool linear =
      shapes.dimensions(std::string(kUNetKeys) + "middle_block.1.proj_in.weight") == 2;
  Json channels = Json::array(), layers = Json::array(), depth = Json::array(),
       heads = Json::array(), down = Json::array(), up = Json::array();
  for (const auto& level : levels) {
    channels.push_back(level.channels);
    layers.push_back(level.layers);
    depth.push_back(std::max<std::int64_t>(level.depth, 1));
    heads.push_back(std::max<std::int64_t>(level.channels / kHeadWidth, 1));
    down.push_back(level.depth > 0 ? "CrossAttnDownBlock2D" : "DownBlock2D");
    up.insert(up.begin(), level.depth > 0 ? "CrossAttnUpBlock2D" : "UpBlock2D");
  }
  const auto one_number = [](const Json& list) {  // as diffusers writes what all levels share
    const bool same = std::all_of(list.begin(), list.end(),
                                  [&](const Json& value) { return value == list.front(); });
    return same ? list.front() : list;
  };
  Json config = {
      {"_class_name", "UNet2DConditionModel"},
      {"act_fn", "silu"},
      {"attention_head_dim", linear ? heads : Json(kHeads)},
      {"block_out_channels", channels},
      {"center_input_sample", false},
      {"cross_attention_dim",
       shapes.size(std::string(kUNetKeys) + "middle_block.1.transformer_blocks.0.attn2.to_k.weight",
                   1)},
      {"down_block_types", down},
      {"downsample_padding", 1},
      {"flip_sin_to_cos", true},
      {"freq_shift", 0},
      {"in_channels", shapes.size(std::string(kUNetKeys) + "input_blocks.0.0.weight", 1)},
      {"layers_per_block", one_number(layers)},
      {"mid_block_scale_factor", 1},
      {"norm_eps", 1e-5},
      {"norm_num_groups", 32},
      {"out_channels", shapes.size(std::string(kUNetKeys) + "out.2.weight", 0)},
      {"sample_size", sample_size},
      {"up_block_types", up},
      {"use_linear_projection", linear}};
  if (one_number(depth) != Json(1)) config["transformer_layers_per_block"] = one_number(depth);
  return config;
}

Json vae_config(const Shapes& shapes, double scaling_factor, std::int64_t sample_size) {
  const auto encoder = std::string(kVaeKeys) + "encoder.";
  const auto levels = shapes.count(encoder + "down.", ".block.0.conv1.weight");
  Json channels = Json::array(), down = Json::array(), up = Json::array();
  for (std::int64_t level = 0; level < levels; ++level) {
    channels.push_back(
        shapes.size(fmt::format("{}down.{}.block.0.conv1.weight", encoder, level), 0));
    down.push_back("DownEncoderBlock2D");
    up.push_back("UpDecoderBlock2D");
  }
  return {{"_class_name", "AutoencoderKL"},
          {"act_fn", "silu"},
          {"block_out_channels", channels},
          {"down_block_types", down},
          {"in_channels", shapes.size(encoder + "conv_in.weight", 1)},
          {"latent_channels", shapes.size(std::string(kVaeKeys) + "decoder.conv_in.weight", 1)},
          {"layers_per_block", shapes.count(encoder + "down.0.block.", ".conv1.weight")},
          {"norm_num_groups", 32},
          {"out_channels", shapes.size(std::string(kVaeKeys) + "decoder.conv_out.weight", 0)},
          {"sample_size", sample_size},
          {"scaling_factor", scaling_factor},
          {"up_block_types", up}};
}

/// The keys that give the sizes of a text encoder.
struct TextKeys {
  std::string tokens, positions, layer, wide;
};

Json text_config(const Shapes& shapes, TextEncoderKind kind, bool penultimate) {
  const bool open_clip = kind == TextEncoderKind::kOpenClip;
  const std::string old = std::string(kClipKeys) + "embeddings.token_embedding.weight";
  const std::string clip = shapes.has(old) ? kClipKeys : std::string(kClipKeys) + "text_model.";
  const auto keys = open_clip ? TextKeys{std::string(kOpenClipKeys) + "token_embedding.weight",
                                         std::string(kOpenClipKeys) + "positional_embedding",
                                         std::string(kOpenClipKeys) + "transformer.resblocks.",
                                         ".mlp.c_fc.weight"}
                              : TextKeys{clip + "embeddings.token_embedding.weight",
                                         clip + "embeddings.position_embedding.weight",
                                         clip + "encoder.layers.", ".mlp.fc1.weight"};
  const auto width = shapes.size(keys.tokens, 1);
  auto layers = shapes.count(keys.layer, keys.wide);
  // OpenCLIP's ViT-H has 24; a file of ours, as diffusers', has only those that are used.
  constexpr std::int64_t kOpenClipLayers = 24;
  if (open_clip && penultimate && layers == kOpenClipLayers) --layers;
  return {{"architectures", {"CLIPTextModel"}},
          {"bos_token_id", 0},
          {"eos_token_id", 2},
          {"hidden_act", open_clip ? "gelu" : "quick_gelu"},
          {"hidden_size", width},
          {"intermediate_size", shapes.size(fmt::format("{}0{}", keys.layer, keys.wide), 0)},
          {"layer_norm_eps", 1e-5},
          {"max_position_embeddings", shapes.size(keys.positions, 0)},
          {"model_type", "clip_text_model"},
          {"num_attention_heads", std::max<std::int64_t>(width / kHeadWidth, 1)},
          {"num_hidden_layers", layers},
          {"pad_token_id", 1},
          {"vocab_size", shapes.size(keys.tokens, 0)}};
}

/// PNDM as SD 1.5 has it; DDIM as SD 2.1 has it.
Json scheduler_config(const LdmConfig& config, const std::string& prediction_type) {
  const bool v = prediction_type == "v_prediction";
  Json json = {{"_class_name", v ? "DDIMScheduler" : "PNDMScheduler"},
               {"beta_end", config.linear_end},
               {"beta_schedule", "scaled_linear"},
               {"beta_start", config.linear_start},
               {"clip_sample", false},
               {"num_train_timesteps", config.timesteps},
               {"prediction_type", prediction_type},
               {"set_alpha_to_one", false},
               {"steps_offset", 1}};
  if (!v) json["skip_prk_steps"] = true;
  return json;
}

/// As diffusers has models that were tuned for it: the last step must be the first that is painted.
void set_zero_snr(Checkpoint& checkpoint, const std::string& prediction_type) {
  if (prediction_type == "v_prediction") {
    checkpoint.scheduler_config[kZeroSnr] = true;
    checkpoint.scheduler_config["timestep_spacing"] = "trailing";
    return;
  }
  log::warn(
      fmt::format("{} is marked as a model of zero terminal SNR (its tensor {}), and one that "
                  "predicts noise cannot be: the mark is left out; --prediction-type "
                  "v_prediction if pictures are noise",
                  checkpoint.origin.string(), kZeroSnrKey));
}

/// The standard deviation of kTellingBias; nothing where its numbers are not there.
std::optional<double> telling_spread(const io::StateDict& tensors) {
  const auto found = tensors.find(kTellingBias);
  if (found == tensors.end()) return std::nullopt;
  const auto& bias = found->second;
  if (bias.is_meta() || !bias.is_floating_point() || bias.numel() == 0) return std::nullopt;
  io::check_stored(bias);
  const auto spread = bias.to(torch::kFloat64).std(/*unbiased=*/false).item<double>();
  return std::isfinite(spread) ? std::optional(spread) : std::nullopt;
}

Prediction guess_by(double spread) {
  const bool v = spread > kSpreadOfVelocity;
  return {v ? "v_prediction" : "epsilon",
          fmt::format("guessed: the numbers of {} have a standard deviation of {:.3f}, {} {}; "
                      "--prediction-type {} if pictures are noise",
                      kTellingBias, spread, v ? "above" : "not above", kSpreadOfVelocity,
                      v ? "epsilon" : "v_prediction")};
}

std::string value_of(const std::map<std::string, std::string>& metadata, const std::string& key) {
  const auto found = metadata.find(key);
  return found == metadata.end() ? "" : found->second;
}

bool is_sd2(const Shapes& shapes) {
  return shapes.dimensions(std::string(kUNetKeys) + "middle_block.1.proj_in.weight") == 2;
}

}  // namespace

TextEncoderKind text_kind_of(const io::StateDict& tensors) {
  const bool open_clip = tensors.contains(std::string(kOpenClipKeys) + "token_embedding.weight");
  return open_clip ? TextEncoderKind::kOpenClip : TextEncoderKind::kTransformers;
}

namespace {

/// The object `key` of `object`; an empty one where there is none.
const Json& child(const Json& object, const char* key) {
  static const auto none = Json::object();
  const auto found = object.is_object() ? object.find(key) : object.end();
  return found != object.end() && found->is_object() ? *found : none;
}

const Json& params_of(const Json& config) { return child(child(config, "model"), "params"); }

constexpr const char* kNoParams =
    "it has no \"model: params:\", so it is no configuration of Stable Diffusion's original code";

LdmConfig config_from(const Json& json, const std::filesystem::path& path) {
  const auto& params = params_of(json);
  if (params.empty()) {
    throw Error(ErrorKind::kFormat, fmt::format("cannot use {}: {}", path.string(), kNoParams));
  }
  LdmConfig config;
  config.parameterization = json_value<std::string>(params, "parameterization", "eps");
  if (config.parameterization != "eps" && config.parameterization != "v") {
    throw Error(ErrorKind::kFormat,
                fmt::format("cannot use {}: parameterization is \"{}\", expected eps or v",
                            path.string(), config.parameterization));
  }
  config.linear_start = json_value(params, "linear_start", config.linear_start);
  config.linear_end = json_value(params, "linear_end", config.linear_end);
  config.timesteps = json_value(params, "timesteps", config.timesteps);
  config.scale_factor = json_value(params, "scale_factor", config.scale_factor);
  const auto& embedder = child(params, "cond_stage_config");
  // The default of the original code's FrozenOpenCLIPEmbedder is the last layer.
  const bool open_clip =
      json_value<std::string>(embedder, "target", "").ends_with("OpenCLIPEmbedder");
  config.text_layer =
      json_value(child(embedder, "params"), "layer", open_clip ? "last" : config.text_layer);
  if (open_clip && config.text_layer != "last" && config.text_layer != "penultimate") {
    throw Error(ErrorKind::kFormat,
                fmt::format("cannot use {}: the text encoder's layer is \"{}\", expected last or "
                            "penultimate",
                            path.string(), config.text_layer));
  }
  return config;
}

}  // namespace

LdmConfig read_ldm_config(const std::filesystem::path& path) {
  const auto json = parse_yaml(read_text_file(path), path.string());
  return naming(path.string(), [&] { return config_from(json, path); });
}

LdmConfig read_ldm_config_beside(const std::filesystem::path& path) {
  const auto json = parse_yaml(read_text_file(path), path.string());
  if (!params_of(json).empty()) {
    return naming(path.string(), [&] { return config_from(json, path); });
  }
  log::warn(fmt::format("{} is not used: {}", path.string(), kNoParams));
  return {};
}

Prediction prediction_of(const io::StateDict& tensors,
                         const std::map<std::string, std::string>& metadata,
                         const ReadOptions& options, const LdmConfig& config) {
  if (!options.prediction_type.empty()) return {options.prediction_type, "as asked for"};
  if (!config.parameterization.empty()) {
    return {config.parameterization == "v" ? "v_prediction" : "epsilon", "as its .yaml says"};
  }
  const auto told = value_of(metadata, "modelspec.prediction_type");
  if (told == "v" || told == "epsilon") {
    return {told == "v" ? "v_prediction" : "epsilon", "as its metadata says"};
  }
  if (tensors.contains("v_pred")) return {"v_prediction", "as its tensor v_pred says"};
  if (!is_sd2(Shapes(tensors))) return {"epsilon", "as Stable Diffusion 1.x does"};
  if (value_of(metadata, "global_step") == kStepOfTheEpsilonModel) {
    return {"epsilon", "guessed: its step counter is that of the 512-base model"};
  }
  if (const auto spread = telling_spread(tensors)) return guess_by(*spread);
  return {
      "v_prediction",
      "guessed, as most of Stable Diffusion 2.x; --prediction-type epsilon if pictures are noise"};
}

void derive_settings(Checkpoint& checkpoint, const io::StateDict& tensors, const LdmConfig& config,
                     const Prediction& prediction) {
  const Shapes shapes(tensors);
  // SD 2.x that predict v were trained at 768 pixels, all others at 512.
  const std::int64_t side = is_sd2(shapes) && prediction.type == "v_prediction" ? 96 : 64;
  auto& networks = checkpoint.networks;
  networks[Part::kUNet].config = unet_config(shapes, side);
  constexpr std::int64_t kDownscale = 8;
  networks[Part::kVae].config = vae_config(shapes, config.scale_factor, side * kDownscale);
  const auto kind = text_kind_of(tensors);
  networks[Part::kTextEncoder].config =
      text_config(shapes, kind, config.text_layer == "penultimate");
  checkpoint.scheduler_config = scheduler_config(config, prediction.type);
  if (shapes.has(kZeroSnrKey)) set_zero_snr(checkpoint, prediction.type);
  checkpoint.model_index = model_index_of(checkpoint.scheduler_config);
  checkpoint.tokenizer = kind == TextEncoderKind::kOpenClip ? text::CLIPTokenizer::clip("!")
                                                            : text::CLIPTokenizer::clip();
}

}  // namespace mos::checkpoint
