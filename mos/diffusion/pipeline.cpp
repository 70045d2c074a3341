#include "mos/diffusion/pipeline.h"

#include <fmt/core.h>

#include <set>
#include <utility>

#include "mos/base/error.h"
#include "mos/base/sha256.h"
#include "mos/diffusion/noise_schedule.h"
#include "mos/diffusion/scheduler_config.h"
#include "mos/io/safetensors.h"
#include "mos/io/state_dict.h"

namespace mos::diffusion {
namespace fs = std::filesystem;

namespace {

constexpr const char* kIndexFile = "model_index.json";
constexpr const char* kSchedulerFile = "scheduler/scheduler_config.json";
constexpr const char* kConceptsFile = "new_concept_cfg.json";
constexpr const char* kDiffusersVersion = "0.19.3";  // the layout that create() declares

/// One network of the directory.
struct Part {
  const char* folder;
  const char* library;
  const char* class_name;
  const char* weights;
};
constexpr Part kTextEncoder = {"text_encoder", "transformers", "CLIPTextModel",
                               "model.safetensors"};
constexpr Part kVae = {"vae", "diffusers", "AutoencoderKL", "diffusion_pytorch_model.safetensors"};
constexpr Part kUNet = {"unet", "diffusers", "UNet2DConditionModel",
                        "diffusion_pytorch_model.safetensors"};

std::string config_file(const Part& part) { return fmt::format("{}/config.json", part.folder); }

/// Runs `action`, naming `origin` in front of what goes wrong in it.
template <typename Action>
auto in_context(const fs::path& origin, Action action) {
  try {
    return action();
  } catch (const Error& error) {
    throw Error(error.kind(), fmt::format("{}: {}", origin.string(), error.what()));
  }
}

[[noreturn]] void missing(const fs::path& directory, const std::string& part) {
  throw Error(ErrorKind::kIo,
              fmt::format("cannot load the model {}: {} is missing; expected a diffusers directory "
                          "with model_index.json, scheduler, text_encoder, tokenizer, unet and vae",
                          directory.string(), part));
}

/// What load() puts together.
class Reader {
 public:
  Reader(const fs::path& directory, const PipelineOptions& options)
      : directory_(directory), options_(options) {}

  StableDiffusion read() {
    if (!fs::is_directory(directory_)) {
      throw Error(ErrorKind::kIo, fmt::format("cannot load the model {}: there is no such folder",
                                              directory_.string()));
    }
    model_.model_index = json(kIndexFile);
    check_index();
    model_.scheduler_config = json(kSchedulerFile);
    in_context(directory_ / kSchedulerFile,
               [this] { return NoiseSchedule::from_config(model_.scheduler_config); });
    model_.text_encoder_config = json(config_file(kTextEncoder));
    model_.vae_config = json(config_file(kVae));
    model_.unet_config = json(config_file(kUNet));
    if (!fs::is_directory(directory_ / "tokenizer")) missing(directory_, "tokenizer");
    model_.tokenizer = text::CLIPTokenizer::from_directory(directory_ / "tokenizer");
    if (fs::exists(directory_ / kConceptsFile)) model_.concepts = json(kConceptsFile);
    return std::move(model_);
  }

  template <typename Module>
  void read_weights(const Part& part, Module& module) const {
    const auto path = weights_file(part);
    module->to(options_.device, options_.dtype);
    io::load_into(*module, io::load_safetensors(path), {.origin = path.string()});
    module->eval();
  }

 private:
  Json json(const std::string& name) {
    const auto path = directory_ / name;
    if (!fs::exists(path)) missing(directory_, name);
    auto text = read_text_file(path);
    auto value = parse_config(text, path.string());
    if (!value.is_object()) {
      throw Error(ErrorKind::kFormat, fmt::format("{} must hold a JSON object", path.string()));
    }
    model_.source_texts[name] = std::move(text);
    return value;
  }

  /// The three networks are what we build; other parts are noted for save().
  void check_index() {
    const std::set<std::string> ours = {"scheduler", "text_encoder", "tokenizer", "unet", "vae"};
    for (const auto& [name, value] : model_.model_index.items()) {
      const bool is_part = value.is_array() && value.size() == 2 && value[1].is_string();
      if (is_part && !ours.contains(name) && fs::is_directory(directory_ / name)) {
        model_.other_parts[name] = directory_ / name;
      }
    }
    for (const auto& part : {kTextEncoder, kVae, kUNet}) {
      const auto entry = model_.model_index.find(part.folder);
      if (entry == model_.model_index.end()) continue;
      const Json expected = {part.library, part.class_name};
      if (*entry == expected) continue;
      throw Error(ErrorKind::kFormat,
                  fmt::format("{}: {} is {}, expected {}", (directory_ / kIndexFile).string(),
                              part.folder, entry->dump(), expected.dump()));
    }
  }

  fs::path weights_file(const Part& part) const {
    const auto path = directory_ / part.folder / part.weights;
    if (fs::exists(path)) return path;
    auto half = path;
    half.replace_extension("fp16.safetensors");
    if (fs::exists(half)) return half;
    missing(directory_, fmt::format("{}/{}", part.folder, part.weights));
  }

  fs::path directory_;
  PipelineOptions options_;
  StableDiffusion model_;
};

void build_networks(StableDiffusion& model, const fs::path& origin) {
  model.text_encoder = in_context(origin / config_file(kTextEncoder), [&] {
    return nn::CLIPTextModel(nn::ClipTextConfig::from_json(model.text_encoder_config));
  });
  model.vae = in_context(origin / config_file(kVae), [&] {
    return nn::AutoencoderKL(nn::VaeConfig::from_json(model.vae_config));
  });
  model.unet = in_context(origin / config_file(kUNet), [&] {
    return nn::UNet2DConditionModel(nn::UNetConfig::from_json(model.unet_config));
  });
}

/// One of the sizes on which two parts of a model have to agree.
struct SharedSize {
  const char* left_name;
  std::int64_t left;
  const char* right_name;
  std::int64_t right;
};

void check_parts_fit(const StableDiffusion& model, const fs::path& origin) {
  const auto& unet = model.unet->config();
  const auto& text = model.text_encoder->config();
  const auto latent = model.vae->config().latent_channels;
  const SharedSize sizes[] = {
      {"the U-Net's cross_attention_dim", unet.cross_attention_dim,
       "the text encoder's hidden_size", text.hidden_size},
      {"the U-Net's in_channels", unet.in_channels, "the VAE's latent_channels", latent},
      {"the U-Net's out_channels", unet.out_channels, "the VAE's latent_channels", latent},
  };
  for (const auto& [left_name, left, right_name, right] : sizes) {
    if (left == right) continue;
    throw Error(ErrorKind::kMismatch,
                fmt::format("the parts of {} do not fit: {} is {}, {} is {}", origin.string(),
                            left_name, left, right_name, right));
  }
  if (model.tokenizer.vocab_size() > text.vocab_size) {
    throw Error(ErrorKind::kMismatch,
                fmt::format("the parts of {} do not fit: the tokenizer has {} tokens, the text "
                            "encoder's vocab_size is {}",
                            origin.string(), model.tokenizer.vocab_size(), text.vocab_size));
  }
  if (model.tokenizer.model_max_length() > text.max_position_embeddings) {
    throw Error(ErrorKind::kMismatch,
                fmt::format("the parts of {} do not fit: the tokenizer makes {} tokens, the text "
                            "encoder takes {}",
                            origin.string(), model.tokenizer.model_max_length(),
                            text.max_position_embeddings));
  }
}

constexpr std::string_view kTokenEmbedding = "text_model.embeddings.token_embedding.weight";

/// What save() writes; the model is not changed.
class Writer {
 public:
  Writer(const StableDiffusion& model, const fs::path& directory)
      : model_(model), directory_(directory) {}

  void write() const {
    json(kIndexFile, model_.model_index);
    json(kSchedulerFile, model_.scheduler_config);
    text_encoder();
    network(kVae, model_.vae_config, io::state_dict_of(*model_.vae));
    network(kUNet, model_.unet_config, io::state_dict_of(*model_.unet));
    model_.tokenizer.save(directory_ / "tokenizer");
    if (!model_.concepts.is_null()) json(kConceptsFile, model_.concepts);
    for (const auto& [name, source] : model_.other_parts) copy(source, directory_ / name);
  }

 private:
  void json(const std::string& name, const Json& value) const {
    const auto source = model_.source_texts.find(name);
    const bool unchanged =
        source != model_.source_texts.end() && parse_config(source->second, name) == value;
    fs::create_directories((directory_ / name).parent_path());
    write_text_file(directory_ / name, unchanged ? source->second : value.dump(2) + "\n");
  }

  void network(const Part& part, const Json& config, const io::StateDict& weights) const {
    for (const auto& [key, tensor] : weights) {
      if (key.find(".lora_down.") == std::string::npos) continue;
      throw Error(ErrorKind::kUsage,
                  fmt::format("cannot save a model with LoRA attached ({}/{}): merge or detach it",
                              part.folder, key));
    }
    json(config_file(part), config);
    io::save_safetensors(directory_ / part.folder / part.weights, weights, {{"format", "pt"}});
  }

  void text_encoder() const {
    auto weights = io::state_dict_of(*model_.text_encoder);
    auto config = model_.text_encoder_config;
    const auto& rows = model_.text_encoder->concept_rows();
    if (rows.defined()) {
      auto& table = weights.at(std::string(kTokenEmbedding));
      table = torch::cat({table, rows.detach().to(table.options())});
      config["vocab_size"] = table.size(0);
    }
    network(kTextEncoder, config, weights);
  }

  static void copy(const fs::path& source, const fs::path& target) {
    std::error_code code;
    fs::copy(source, target, fs::copy_options::recursive, code);
    if (code) {
      throw Error(ErrorKind::kIo, fmt::format("cannot copy {} to {}: {}", source.string(),
                                              target.string(), code.message()));
    }
  }

  const StableDiffusion& model_;
  fs::path directory_;
};

Json index_of(const Json& scheduler_config) {
  Json index = {{"_class_name", "StableDiffusionPipeline"},
                {"_diffusers_version", kDiffusersVersion},
                {"feature_extractor", {nullptr, nullptr}},
                {"requires_safety_checker", false},
                {"safety_checker", {nullptr, nullptr}}};
  index["scheduler"] = {"diffusers", json_required<std::string>(scheduler_config, "_class_name")};
  for (const auto& part : {kTextEncoder, kUNet, kVae}) {
    index[part.folder] = {part.library, part.class_name};
  }
  index["tokenizer"] = {"transformers", "CLIPTokenizer"};
  return index;
}

void hash_network(Sha256& sha, const std::string& folder, const torch::nn::Module& module) {
  for (const auto& [key, tensor] : io::state_dict_of(module)) {
    if (key.find(".lora_") != std::string::npos) continue;
    const auto title = fmt::format("{}/{} {}\n", folder, key, io::shape_text(tensor.sizes()));
    sha.update(title.data(), title.size());
    const auto values = tensor.to(torch::kCPU, torch::kBFloat16).contiguous();
    sha.update(values.data_ptr(), values.nbytes());
  }
}

}  // namespace

StableDiffusion StableDiffusion::load(const fs::path& directory, const PipelineOptions& options) {
  Reader reader(directory, options);
  auto model = reader.read();
  build_networks(model, directory);
  check_parts_fit(model, directory);
  reader.read_weights(kTextEncoder, model.text_encoder);
  reader.read_weights(kVae, model.vae);
  reader.read_weights(kUNet, model.unet);
  return model;
}

StableDiffusion StableDiffusion::create(text::CLIPTokenizer tokenizer,
                                        const Json& text_encoder_config, const Json& vae_config,
                                        const Json& unet_config, const Json& scheduler_config) {
  StableDiffusion model;
  model.tokenizer = std::move(tokenizer);
  model.text_encoder_config = text_encoder_config;
  model.vae_config = vae_config;
  model.unet_config = unet_config;
  model.scheduler_config = scheduler_config;
  model.model_index = index_of(scheduler_config);
  in_context("the new model", [&] { return NoiseSchedule::from_config(scheduler_config); });
  build_networks(model, "the new model");
  check_parts_fit(model, "the new model");
  return model;
}

void StableDiffusion::save(const fs::path& directory, Existing existing) const {
  torch::NoGradGuard no_grad;
  AtomicDirectory output(directory, existing);
  Writer(*this, output.path()).write();
  output.commit();
}

torch::Device StableDiffusion::device() const { return unet->parameters().front().device(); }

torch::ScalarType StableDiffusion::dtype() const {
  return unet->parameters().front().scalar_type();
}

std::string model_hash(const StableDiffusion& model) {
  torch::NoGradGuard no_grad;
  Sha256 sha;
  hash_network(sha, kTextEncoder.folder, *model.text_encoder);
  hash_network(sha, kUNet.folder, *model.unet);
  hash_network(sha, kVae.folder, *model.vae);
  return sha.hex();
}

}  // namespace mos::diffusion
