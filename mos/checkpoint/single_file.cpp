#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "mos/base/error.h"
#include "mos/base/log.h"
#include "mos/base/text.h"
#include "mos/checkpoint/describe.h"
#include "mos/checkpoint/family.h"
#include "mos/checkpoint/key_map.h"
#include "mos/checkpoint/ldm_settings.h"
#include "mos/checkpoint/parts.h"
#include "mos/io/mapped_tensor.h"
#include "mos/io/names.h"
#include "mos/io/safetensors.h"
#include "mos/io/tensor_file.h"

namespace mos::checkpoint {
namespace {

namespace fs = std::filesystem;

/// Metadata of our files: the small files of a directory, by path, as a JSON object of texts.
constexpr const char* kSettingsKey = "mixofshow.settings";

constexpr std::string_view kUNetPrefix = "model.diffusion_model.";
constexpr std::string_view kAveragedPrefix = "model_ema.";

/// What single files hold beside the weights that a model is made of: the noise schedule as tables,
/// averaged weights, parts of OpenCLIP and of the training that no picture needs.
constexpr std::array<std::string_view, 18> kUnusedKeys = {
    "model_ema.*",
    "betas",
    "alphas_cumprod*",
    "sqrt_*alphas_cumprod*",
    "log_one_minus_alphas_cumprod",
    "posterior_*",
    "lvlb_weights",
    "logvar",
    "scale_factor",
    "v_pred",
    kZeroSnrKey,
    "cond_stage_model.model.text_projection",
    "cond_stage_model.model.logit_scale",
    "cond_stage_model.model.attn_mask",
    "cond_stage_model.transformer.text_projection.weight",
    "cond_stage_model.logit_scale",
    "embedding_manager.*",
    "first_stage_model.loss.*"};

/// The last block of OpenCLIP, which a text encoder that stops before it does not have.
bool is_beyond_last_layer(const std::string& key, std::int64_t layers) {
  return key.starts_with(fmt::format("cond_stage_model.model.transformer.resblocks.{}.", layers));
}

/// LitEma of the original code keeps averaged weights under their names without dots.
std::string averaged_key(std::string_view key) {
  key.remove_prefix(std::string_view("model.").size());
  std::string name(key);
  std::erase(name, '.');
  return std::string(kAveragedPrefix) + name;
}

/// Puts averaged weights in the place of the trained ones. Throws kUsage when there are none, and
/// kMismatch when only some layers have them: a model of both would be neither.
void take_averaged(io::TensorFile& file) {
  std::size_t taken = 0;
  std::vector<std::string> missing;
  for (auto& [key, tensor] : file.tensors) {
    if (!key.starts_with(kUNetPrefix)) continue;
    const auto averaged = file.tensors.find(averaged_key(key));
    if (averaged == file.tensors.end()) {
      missing.push_back(averaged_key(key));
    } else {
      tensor = averaged->second;
      ++taken;
    }
  }
  if (taken == 0) {
    throw Error(ErrorKind::kUsage, fmt::format("{} has no averaged weights (model_ema.…); leave "
                                               "out --ema",
                                               file.path.string()));
  }
  if (missing.empty()) return;
  throw Error(ErrorKind::kMismatch,
              fmt::format("the averaged weights of {} are not complete: {} is missing; leave out "
                          "--ema",
                          file.path.string(), listed(missing)));
}

LdmConfig config_for(const fs::path& file, const ReadOptions& options) {
  if (!options.original_config.empty()) return read_ldm_config(options.original_config);
  auto beside = file;
  beside.replace_extension(".yaml");
  return fs::is_regular_file(beside) ? read_ldm_config_beside(beside) : LdmConfig{};
}

void take_own_settings(Checkpoint& checkpoint, const std::string& metadata) {
  const auto json = parse_json(metadata, checkpoint.origin.string());
  std::map<std::string, std::string> texts;
  text::CLIPTokenizer::Texts tokenizer;
  for (const auto& [name, text] : json.items()) {
    const auto prefix = std::string(kTokenizerFolder) + "/";
    if (!text.is_string()) throw_json_type_error(name, text, "a text");
    if (name.starts_with(prefix)) {
      tokenizer[name.substr(prefix.size())] = text;
    } else {
      texts[name] = text;
    }
  }
  take_settings(checkpoint, texts);
  for (const auto* name : {"vocab.json", "merges.txt"}) {  // left out when they are CLIP's
    if (!tokenizer.contains(name)) tokenizer[name] = text::CLIPTokenizer::clip().texts().at(name);
  }
  const auto origin = (checkpoint.origin / kTokenizerFolder).string();
  checkpoint.tokenizer = text::CLIPTokenizer::from_texts(tokenizer, origin);
}

void take_settings_of(Checkpoint& checkpoint, const io::TensorFile& file,
                      const ReadOptions& options) {
  const auto own = file.metadata.find(kSettingsKey);
  if (own != file.metadata.end()) {
    if (options.original_config.empty()) return take_own_settings(checkpoint, own->second);
    throw Error(
        ErrorKind::kUsage,
        fmt::format("--original-config {} would have no effect: {} brings its own settings; "
                    "leave it out",
                    options.original_config, file.path.string()));
  }
  const auto config = config_for(file.path, options);
  const auto prediction = prediction_of(file.tensors, file.metadata, options, config);
  log::info(
      fmt::format("{} predicts {} ({})", file.path.string(), prediction.type, prediction.reason));
  derive_settings(checkpoint, file.tensors, config, prediction);
}

KeyMapSizes sizes_of(const Checkpoint& checkpoint, TextEncoderKind kind) {
  const auto config = [&](Part part) -> const Json& { return checkpoint.networks.at(part).config; };
  const auto text = nn::ClipTextConfig::from_json(config(Part::kTextEncoder));
  return {.unet = nn::UNetConfig::from_json(config(Part::kUNet)),
          .vae = nn::VaeConfig::from_json(config(Part::kVae)),
          .text_layers = text.num_hidden_layers,
          .text = kind};
}

/// The network of a key that starts with its folder, and the key without it.
std::pair<io::StateDict*, std::string> place_of(Checkpoint& checkpoint, const std::string& key) {
  for (const auto& part : kNetworks) {
    const auto prefix = std::string(part.folder) + "/";
    if (key.starts_with(prefix)) {
      return {&checkpoint.networks.at(part.part).tensors, key.substr(prefix.size())};
    }
  }
  return {nullptr, key};
}

bool is_pointwise(const torch::Tensor& tensor) {
  return tensor.dim() == 4 && tensor.size(2) == 1 && tensor.size(3) == 1;
}

/// The VAE's attention: 1×1 convolutions there, linear layers here.
bool is_vae_projection(std::string_view diffusers_key) {
  return io::matches_pattern(diffusers_key, "vae/*.attentions.*.to_*.weight");
}

/// What became of a tensor: kAgain where its place holds the same numbers already, under another
/// name, kConflict where it holds others.
enum class Taken { kPlaced, kAgain, kConflict };

Taken put_piece(Checkpoint& checkpoint, const std::string& key, const torch::Tensor& piece) {
  auto [dict, name] = place_of(checkpoint, key);
  const auto [entry, is_new] = dict->emplace(name, piece);
  if (is_new) return Taken::kPlaced;
  if (io::is_ignorable_buffer(name)) return Taken::kAgain;
  const auto& first = entry->second;
  if (first.sizes() != piece.sizes() || first.scalar_type() != piece.scalar_type()) {
    return Taken::kConflict;
  }
  io::check_stored(first);
  io::check_stored(piece);
  return first.equal(piece) ? Taken::kAgain : Taken::kConflict;
}

Taken take_tensor(Checkpoint& checkpoint, const std::vector<std::string>& keys,
                  const torch::Tensor& tensor) {
  auto taken = Taken::kPlaced;
  const auto pieces = static_cast<std::int64_t>(keys.size());
  const bool divides = tensor.dim() > 0 && tensor.size(0) % pieces == 0;
  for (std::int64_t i = 0; i < pieces; ++i) {
    const auto& key = keys[static_cast<std::size_t>(i)];
    auto piece = tensor;
    if (pieces > 1 && divides) {
      const auto rows = tensor.size(0) / pieces;
      piece = tensor.slice(0, i * rows, (i + 1) * rows);
    }
    if (is_vae_projection(key) && is_pointwise(piece)) piece = piece.flatten(1);
    taken = std::max(taken, put_piece(checkpoint, key, piece));
  }
  return taken;
}

void log_unused(const fs::path& file, std::size_t count) {
  if (count == 0) return;
  log::info(
      fmt::format("{}: {} tensors are of the training or of parts that no picture needs, and "
                  "are left out",
                  file.string(), count));
}

/// Metadata that other programs know (stability.ai's ModelSpec 1.0.0).
std::map<std::string, std::string> model_spec(const Checkpoint& checkpoint, bool open_clip) {
  const bool v = prediction_type_of(checkpoint.scheduler_config) == "v_prediction";
  const char* architecture = !open_clip ? "stable-diffusion-v1"
                             : v        ? "stable-diffusion-v2-768-v"
                                        : "stable-diffusion-v2-512";
  return {{"format", "pt"},
          {"modelspec.sai_model_spec", "1.0.0"},
          {"modelspec.architecture", architecture},
          {"modelspec.prediction_type", v ? "v" : "epsilon"}};
}

std::string own_settings(const Checkpoint& checkpoint) {
  Json json = Json::object();
  for (const auto& [name, text] : settings_texts(checkpoint)) json[name] = text;
  const bool known = checkpoint.tokenizer.has_clip_vocabulary();
  for (const auto& [name, text] : checkpoint.tokenizer.texts()) {
    const bool vocabulary = name == "vocab.json" || name == "merges.txt";
    if (!known || !vocabulary) json[fmt::format("{}/{}", kTokenizerFolder, name)] = text;
  }
  return json_text(json);
}

/// The tensors of the original layout, each made of its pieces when it is written.
class LdmTensors {
 public:
  LdmTensors(KeyMap map, WriteOptions options) : map_(std::move(map)), options_(options) {}

  bool has_place_for(const std::string& key) const { return !map_.to_ldm(key).key.empty(); }

  void add(const std::string& key, torch::Tensor tensor) {
    const auto place = map_.to_ldm(key);
    if (place.key.empty()) {
      throw Error(ErrorKind::kMismatch,
                  fmt::format("{} has no place in a single file of Stable Diffusion", key));
    }
    if (is_vae_projection(key) && tensor.dim() == 2) {
      tensor = tensor.unsqueeze(-1).unsqueeze(-1);
    }
    auto& pieces = pieces_[place.key];
    pieces.resize(place.pieces);
    pieces[place.piece] = {key, std::move(tensor)};
  }

  io::LazyDict take() {
    io::LazyDict lazy;
    for (auto& [key, pieces] : pieces_) lazy[key] = joined(key, std::move(pieces));
    return lazy;
  }

 private:
  struct Piece {
    std::string key;  ///< Of diffusers.
    torch::Tensor tensor;
  };

  io::LazyTensor joined(const std::string& key, std::vector<Piece> pieces) const {
    const auto& first = pieces.front().tensor;
    for (const auto& [name, tensor] : pieces) {
      if (tensor.defined() && tensor.sizes() == first.sizes()) continue;
      throw Error(ErrorKind::kMismatch,
                  fmt::format("the tensors that make {} are not complete or not equal", key));
    }
    // Whole numbers (the positions of a text) stay whole.
    const auto dtype = first.is_floating_point() ? options_.dtype.value_or(first.scalar_type())
                                                 : first.scalar_type();
    auto shape = first.sizes().vec();
    if (pieces.size() > 1) shape[0] *= static_cast<std::int64_t>(pieces.size());
    return {dtype, std::move(shape), [pieces = std::move(pieces), values = options_.values] {
              std::vector<torch::Tensor> made;
              for (const auto& [name, tensor] : pieces) {
                made.push_back(values ? values(name, tensor) : tensor);
              }
              return made.size() == 1 ? made.front() : torch::cat(made);
            }};
  }

  KeyMap map_;
  WriteOptions options_;
  std::map<std::string, std::vector<Piece>> pieces_;
};

const Json& text_config(const Checkpoint& checkpoint) {
  return checkpoint.networks.at(Part::kTextEncoder).config;
}

bool is_open_clip(const Checkpoint& checkpoint) {
  // ViT-H came with the exact GELU, OpenAI's ViT-L with its approximation.
  return json_value<std::string>(text_config(checkpoint), "hidden_act", "quick_gelu") == "gelu";
}

/// Gives every tensor of `file` its place; what has none is in strange_keys.
void take_tensors(Checkpoint& checkpoint, const io::TensorFile& file) {
  const KeyMap map(sizes_of(checkpoint, text_kind_of(file.tensors)));
  const auto text_layers =
      json_value<std::int64_t>(text_config(checkpoint), "num_hidden_layers", 0);
  std::size_t unused = 0;
  for (const auto& [key, tensor] : file.tensors) {
    const auto keys = map.to_diffusers(key);
    const bool has_no_place =
        keys.empty() && (io::is_ignorable_buffer(key) || is_beyond_last_layer(key, text_layers));
    if (is_unused_key(key) || has_no_place) {
      ++unused;
      continue;
    }
    if (keys.empty()) {
      checkpoint.strange_keys.push_back(key);
      continue;
    }
    const auto taken = take_tensor(checkpoint, keys, tensor);
    if (taken == Taken::kAgain) ++unused;
    if (taken != Taken::kConflict) continue;
    // Merged files have older names beside newer ones, and nothing says which of them count.
    checkpoint.strange_keys.push_back(
        fmt::format("{} (another name in the file has other numbers for {})", key, keys.front()));
  }
  log_unused(file.path, unused);
}

}  // namespace

bool is_unused_key(const std::string& key) {
  return std::any_of(kUnusedKeys.begin(), kUnusedKeys.end(),
                     [&](const auto pattern) { return io::matches_pattern(key, pattern); });
}

std::optional<std::string> kept_text(const fs::path& path, const std::string& name) {
  if (fs::is_regular_file(path / name)) return read_text_file(path / name);
  if (!is_single_file(path) || !fs::is_regular_file(path)) return std::nullopt;
  const io::SafetensorsFile file(path);
  const auto own = file.metadata().find(kSettingsKey);
  if (own == file.metadata().end()) return std::nullopt;
  const auto texts = parse_json(own->second, path.string());
  return texts.contains(name) ? std::optional(json_required<std::string>(texts, name))
                              : std::nullopt;
}

Checkpoint read_single_file(const fs::path& path, const ReadOptions& options) {
  auto file = io::read_tensor_file(path);
  const auto identity = identify(file.tensors);
  if (!identity) {
    throw Error(ErrorKind::kMismatch,
                fmt::format("cannot use {} as a base model: it holds no U-Net of Stable Diffusion; "
                            "mos inspect says what it is",
                            path.string()));
  }
  require_buildable(*identity, path.string());
  if (options.ema) take_averaged(file);

  Checkpoint checkpoint;
  checkpoint.origin = path;
  take_settings_of(checkpoint, file, options);
  take_tensors(checkpoint, file);
  return checkpoint;
}

void write_single_file(Checkpoint checkpoint, const fs::path& path, const WriteOptions& options,
                       Existing existing) {
  for (const auto& [name, source] : checkpoint.other_parts) {
    log::warn(fmt::format("{} is not in {}: one file has no place for it", source.string(),
                          path.string()));
  }
  const bool open_clip = is_open_clip(checkpoint);
  const auto kind = open_clip ? TextEncoderKind::kOpenClip : TextEncoderKind::kTransformers;
  auto metadata = model_spec(checkpoint, open_clip);
  metadata[kSettingsKey] = own_settings(checkpoint);
  LdmTensors tensors(KeyMap(sizes_of(checkpoint, kind)), options);
  for (const auto& part : kNetworks) {
    for (auto& [key, tensor] : checkpoint.networks.at(part.part).tensors) {
      const auto name = fmt::format("{}/{}", part.folder, io::canonical_key(key));
      // SD 1.x files keep the positions 0, 1, 2, … beside the weights; OpenCLIP has no such tensor.
      if (io::is_ignorable_buffer(key) && !tensors.has_place_for(name)) continue;
      tensors.add(name, std::move(tensor));
    }
    checkpoint.networks.at(part.part).tensors.clear();
  }
  auto lazy = tensors.take();
  if (json_value(checkpoint.scheduler_config, kZeroSnr, false)) {
    lazy[kZeroSnrKey] = io::lazy_tensor(torch::empty({0}));
  }
  io::write_safetensors(
      path, std::move(lazy), metadata,
      {.file = {.existing = existing, .kind = model_file_kind()}, .cancel = options.cancel});
}

}  // namespace mos::checkpoint
