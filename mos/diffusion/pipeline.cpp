#include "mos/diffusion/pipeline.h"

#include <fmt/core.h>

#include <memory>
#include <string_view>
#include <utility>

#include "mos/base/directory.h"
#include "mos/base/error.h"
#include "mos/base/sha256.h"
#include "mos/checkpoint/parts.h"
#include "mos/diffusion/noise_schedule.h"
#include "mos/io/state_dict.h"
#include "mos/nn/parameter.h"

namespace mos::diffusion {
namespace fs = std::filesystem;

namespace {

using checkpoint::Checkpoint;

/// Runs `action`, naming `origin` in front of what goes wrong in it.
template <typename Action>
auto in_context(const fs::path& origin, Action action) {
  try {
    return action();
  } catch (const Error& error) {
    throw Error(error.kind(), fmt::format("{}: {}", origin.string(), error.what()));
  }
}

void build_networks(StableDiffusion& model, const fs::path& origin) {
  model.text_encoder = in_context(origin / "text_encoder/config.json", [&] {
    return nn::CLIPTextModel(nn::ClipTextConfig::from_json(model.text_encoder_config));
  });
  model.vae = in_context(origin / "vae/config.json", [&] {
    return nn::AutoencoderKL(nn::VaeConfig::from_json(model.vae_config));
  });
  model.unet = in_context(origin / "unet/config.json", [&] {
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

bool is_inpainting(const StableDiffusion& model) {
  return model.unet->config().in_channels == 2 * model.vae->config().latent_channels + 1;
}

void check_parts_fit(const StableDiffusion& model, const fs::path& origin) {
  const auto& unet = model.unet->config();
  const auto& text = model.text_encoder->config();
  const auto latent = model.vae->config().latent_channels;
  const SharedSize sizes[] = {
      {"the U-Net's cross_attention_dim", unet.cross_attention_dim,
       "the text encoder's hidden_size", text.hidden_size},
      {"the U-Net's in_channels", is_inpainting(model) ? latent : unet.in_channels,
       "the VAE's latent_channels", latent},
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

/// The network that is stored as `part`.
std::shared_ptr<torch::nn::Module> network_of(const StableDiffusion& model,
                                              const checkpoint::NetworkPart& part) {
  const std::string_view folder = part.folder;
  if (folder == "text_encoder") return model.text_encoder.ptr();
  if (folder == "vae") return model.vae.ptr();
  return model.unet.ptr();
}

/// The settings of `stored` and networks without memory for them.
StableDiffusion model_of_shapes(const Checkpoint& stored) {
  StableDiffusion model;
  model.tokenizer = stored.tokenizer;
  model.scheduler_config = stored.scheduler_config;
  model.text_encoder_config = stored.text_encoder.config;
  model.vae_config = stored.vae.config;
  model.unet_config = stored.unet.config;
  model.model_index = stored.model_index;
  model.concepts = stored.concepts;
  model.source_texts = stored.source_texts;
  model.other_parts = stored.other_parts;
  in_context(stored.origin / checkpoint::kSchedulerFile,
             [&] { return NoiseSchedule::from_config(model.scheduler_config); });
  const nn::ShapesOnly shapes_only;
  build_networks(model, stored.origin);
  check_parts_fit(model, stored.origin);
  return model;
}

/// All that is wrong with all parts, in one message.
void check_tensors_fit(const StableDiffusion& model, const Checkpoint& stored) {
  io::LoadReport all;
  for (const auto& part : checkpoint::kNetworks) {
    const auto report = io::compare(*network_of(model, part), (stored.*part.stored).tensors);
    const auto add = [&](std::vector<std::string>& to, const std::vector<std::string>& from) {
      for (const auto& key : from) to.push_back(fmt::format("{}/{}", part.folder, key));
    };
    add(all.loaded, report.loaded);
    add(all.missing, report.missing);
    add(all.unexpected, report.unexpected);
    add(all.mismatched, report.mismatched);
  }
  all.unexpected.insert(all.unexpected.end(), stored.strange_keys.begin(),
                        stored.strange_keys.end());
  if (all.missing.empty() && all.unexpected.empty() && all.mismatched.empty()) return;
  throw Error(ErrorKind::kMismatch, fmt::format("the tensors of {} do not make a model: {}",
                                                stored.origin.string(), all.summary()));
}

void refuse_lora(const std::string& folder, const io::StateDict& tensors) {
  for (const auto& [key, tensor] : tensors) {
    if (key.find(".lora_down.") == std::string::npos) continue;
    throw Error(ErrorKind::kUsage,
                fmt::format("cannot save a model with LoRA attached ({}/{}): merge or detach it",
                            folder, key));
  }
}

constexpr const char* kTokenEmbedding = "text_model.embeddings.token_embedding.weight";

/// The model as it is stored; the tensors alias it.
Checkpoint stored_model(const StableDiffusion& model) {
  Checkpoint stored;
  stored.tokenizer = model.tokenizer;
  stored.scheduler_config = model.scheduler_config;
  stored.text_encoder.config = model.text_encoder_config;
  stored.vae.config = model.vae_config;
  stored.unet.config = model.unet_config;
  stored.model_index = model.model_index;
  stored.concepts = model.concepts;
  stored.source_texts = model.source_texts;
  stored.other_parts = model.other_parts;
  for (const auto& part : checkpoint::kNetworks) {
    auto& tensors = (stored.*part.stored).tensors;
    tensors = io::state_dict_of(*network_of(model, part));
    refuse_lora(part.folder, tensors);
  }
  const auto& rows = model.text_encoder->concept_rows();
  if (rows.defined()) {
    auto& table = stored.text_encoder.tensors.at(kTokenEmbedding);
    table = torch::cat({table, rows.detach().to(table.options())});
    stored.text_encoder.config["vocab_size"] = table.size(0);
  }
  return stored;
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

bool StableDiffusion::paints_into_pictures() const { return is_inpainting(*this); }

StableDiffusion StableDiffusion::load(const fs::path& path, const PipelineOptions& options) {
  auto stored = checkpoint::read_checkpoint(path, options.read);
  auto model = model_of_shapes(stored);
  check_tensors_fit(model, stored);
  for (const auto& part : checkpoint::kNetworks) {
    const auto network = network_of(model, part);
    io::load_into(*network, std::move((stored.*part.stored).tensors),
                  {.origin = (path / part.folder).string(),
                   .new_memory = options.device,
                   .new_dtype = options.dtype});
    network->eval();
  }
  return model;
}

StableDiffusion StableDiffusion::shapes(const fs::path& path, const checkpoint::ReadOptions& read) {
  const auto stored = checkpoint::read_checkpoint(path, read);
  auto model = model_of_shapes(stored);
  check_tensors_fit(model, stored);
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
  model.model_index = checkpoint::model_index_of(scheduler_config);
  in_context("the new model", [&] { return NoiseSchedule::from_config(scheduler_config); });
  build_networks(model, "the new model");
  check_parts_fit(model, "the new model");
  return model;
}

void StableDiffusion::save(const fs::path& path, Existing existing) const {
  save(path, SaveOptions{.existing = existing, .write = {}});
}

void StableDiffusion::save(const fs::path& path, const SaveOptions& options) const {
  torch::NoGradGuard no_grad;
  save_checkpoint(stored_model(*this), path, options);
}

void save_checkpoint(Checkpoint stored, const fs::path& path, const SaveOptions& options) {
  if (!checkpoint::is_single_file(path)) {
    AtomicDirectory output(path, options.existing,
                           [](const fs::path& folder) { checkpoint::check_model_folder(folder); });
    checkpoint::write_folder(std::move(stored), output.path(), options.write);
    output.commit();
    return;
  }
  checkpoint::write_single_file(std::move(stored), path, options.write, options.existing);
}

void check_checkpoint(const Checkpoint& stored) {
  check_tensors_fit(model_of_shapes(stored), stored);
}

torch::Device StableDiffusion::device() const { return unet->parameters().front().device(); }

torch::ScalarType StableDiffusion::dtype() const {
  return unet->parameters().front().scalar_type();
}

std::string model_hash(const StableDiffusion& model) {
  torch::NoGradGuard no_grad;
  Sha256 sha;
  hash_network(sha, "text_encoder", *model.text_encoder);
  hash_network(sha, "unet", *model.unet);
  hash_network(sha, "vae", *model.vae);
  return sha.hex();
}

}  // namespace mos::diffusion
