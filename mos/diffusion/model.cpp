#include "mos/diffusion/model.h"

#include <fmt/core.h>

#include <algorithm>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "mos/base/directory.h"
#include "mos/base/error.h"
#include "mos/base/sha256.h"
#include "mos/checkpoint/parts.h"
#include "mos/io/state_dict.h"
#include "mos/nn/parameter.h"

namespace mos::diffusion {
namespace fs = std::filesystem;

namespace {

using checkpoint::Checkpoint;
using checkpoint::Part;

/// Runs `action`, naming `origin` in front of what goes wrong in it.
template <typename Action>
auto in_context(const fs::path& origin, Action action) {
  try {
    return action();
  } catch (const Error& error) {
    throw Error(error.kind(), fmt::format("{}: {}", origin.string(), error.what()));
  }
}

/// A network of the class `Network`, of the config of `part`.
template <typename Network, typename Config>
Network build(const Model& model, Part part, const fs::path& origin) {
  return in_context(origin / checkpoint::row_of(part).config_file(),
                    [&] { return Network(Config::from_json(model.settings.configs.at(part))); });
}

/// The towers have tokenizers already.
void build_networks(Model& model, const fs::path& origin) {
  for (auto& tower : model.towers) {
    tower.encoder = build<nn::CLIPTextModel, nn::ClipTextConfig>(model, tower.part, origin);
  }
  model.vae = build<nn::AutoencoderKL, nn::VaeConfig>(model, Part::kVae, origin);
  model.unet = build<nn::UNet2DConditionModel, nn::UNetConfig>(model, Part::kUNet, origin);
  model.family = checkpoint::family_of_width(model.unet->config().cross_attention_dim);
}

/// One of the sizes on which two parts of a model have to agree.
struct SharedSize {
  const char* left_name;
  std::int64_t left;
  const char* right_name;
  std::int64_t right;
};

[[noreturn]] void refuse_parts(const fs::path& origin, const std::string& why) {
  throw Error(ErrorKind::kMismatch,
              fmt::format("the parts of {} do not fit: {}", origin.string(), why));
}

/// A tokenizer makes no token and no text that its encoder cannot read.
void check_tower_fits(const TextTower& tower, const fs::path& origin) {
  const auto& text = tower.encoder->config();
  if (tower.tokenizer.vocab_size() > text.vocab_size) {
    refuse_parts(origin, fmt::format("the tokenizer has {} tokens, the text encoder's vocab_size "
                                     "is {}",
                                     tower.tokenizer.vocab_size(), text.vocab_size));
  }
  if (tower.tokenizer.model_max_length() > text.max_position_embeddings) {
    refuse_parts(origin,
                 fmt::format("the tokenizer makes {} tokens, the text encoder takes {}",
                             tower.tokenizer.model_max_length(), text.max_position_embeddings));
  }
}

void check_parts_fit(const Model& model, const fs::path& origin) {
  const auto& unet = model.unet->config();
  std::int64_t text_width = 0;
  // Towers stand side by side in the channels of the text.
  for (const auto& tower : model.towers) text_width += tower.width();
  const auto latent = model.vae->config().latent_channels;
  const SharedSize sizes[] = {
      {"the U-Net's cross_attention_dim", unet.cross_attention_dim,
       "the text encoder's hidden_size", text_width},
      {"the U-Net's in_channels", model.paints_into_pictures() ? latent : unet.in_channels,
       "the VAE's latent_channels", latent},
      {"the U-Net's out_channels", unet.out_channels, "the VAE's latent_channels", latent},
  };
  for (const auto& [left_name, left, right_name, right] : sizes) {
    if (left == right) continue;
    refuse_parts(origin, fmt::format("{} is {}, {} is {}", left_name, left, right_name, right));
  }
  for (const auto& tower : model.towers) check_tower_fits(tower, origin);
}

/// The settings of `stored` and networks without memory for them.
Model model_of_shapes(const Checkpoint& stored) {
  Model model;
  model.towers = {{.part = Part::kTextEncoder, .tokenizer = stored.tokenizer}};
  model.settings.scheduler_config = stored.scheduler_config;
  for (const auto& [part, network] : stored.networks) {
    model.settings.configs[part] = network.config;
  }
  model.model_index = stored.model_index;
  model.concepts = stored.concepts;
  model.source_texts = stored.source_texts;
  model.other_parts = stored.other_parts;
  model.schedule = in_context(stored.origin / checkpoint::kSchedulerFile, [&] {
    return NoiseSchedule::from_config(model.settings.scheduler_config);
  });
  // The tensors of the file become the networks' memory: a model is never in memory twice.
  const nn::ShapesOnly shapes_only;
  build_networks(model, stored.origin);
  check_parts_fit(model, stored.origin);
  return model;
}

/// All that is wrong with all parts, in one message.
void check_tensors_fit(const Model& model, const Checkpoint& stored) {
  io::LoadReport all;
  for (const auto& part : checkpoint::kNetworks) {
    const auto report =
        io::compare(*model.network(part.part), stored.networks.at(part.part).tensors);
    const auto add = [&](std::vector<std::string>& to, const std::vector<std::string>& from) {
      for (const auto& key : from) to.push_back(fmt::format("{}/{}", part.folder, key));
    };
    add(all.loaded, report.loaded);
    add(all.missing, report.missing);
    add(all.unexpected, report.unexpected);
    add(all.mismatched, report.mismatched);
  }
  // Keys of an original file that no network has a place for.
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

/// Concept rows as rows of the token embedding, as transformers has them.
void append_concept_rows(const TextTower& tower, checkpoint::StoredNetwork& stored) {
  const auto& rows = tower.encoder->concept_rows();
  if (!rows.defined()) return;
  auto& table = stored.tensors.at(kTokenEmbedding);
  // Words of a fused model are ordinary tokens to every other program.
  table = torch::cat({table, rows.detach().to(table.options())});
  stored.config["vocab_size"] = table.size(0);
}

/// The model as it is stored; the tensors alias it.
Checkpoint stored_model(const Model& model) {
  Checkpoint stored;
  stored.tokenizer = model.tokenizer();
  stored.scheduler_config = model.settings.scheduler_config;
  stored.model_index = model.model_index;
  stored.concepts = model.concepts;
  stored.source_texts = model.source_texts;
  stored.other_parts = model.other_parts;
  for (const auto& [part, config] : model.settings.configs) {
    auto tensors = io::state_dict_of(*model.network(part));
    refuse_lora(std::string(folder_of(part)), tensors);
    stored.networks[part] = {.config = config, .tensors = std::move(tensors)};
  }
  for (const auto& tower : model.towers) append_concept_rows(tower, stored.networks.at(tower.part));
  return stored;
}

void hash_network(Sha256& sha, std::string_view folder, const torch::nn::Module& module) {
  for (const auto& [key, tensor] : io::state_dict_of(module)) {
    if (key.find(".lora_") != std::string::npos) continue;
    const auto title = fmt::format("{}/{} {}\n", folder, key, io::shape_text(tensor.sizes()));
    sha.update(title.data(), title.size());
    // In bfloat16: a model that is stored in float16 and in float32 is the same model.
    const auto values = tensor.to(torch::kCPU, torch::kBFloat16).contiguous();
    sha.update(values.data_ptr(), values.nbytes());
  }
}

}  // namespace

bool Model::paints_into_pictures() const {
  return unet->config().in_channels == 2 * vae->config().latent_channels + 1;
}

Model Model::load(const fs::path& path, const PipelineOptions& options) {
  auto stored = checkpoint::read_checkpoint(path, options.read);
  auto model = model_of_shapes(stored);
  check_tensors_fit(model, stored);
  for (auto& [part, kept] : stored.networks) {
    const auto network = model.network(part);
    io::load_into(*network, std::move(kept.tensors),
                  {.origin = (path / folder_of(part)).string(),
                   .new_memory = options.device,
                   .new_dtype = options.dtype});
    // Nothing of ours differs in training; other modules of LibTorch might.
    network->eval();
  }
  return model;
}

Model Model::shapes(const fs::path& path, const checkpoint::ReadOptions& read) {
  const auto stored = checkpoint::read_checkpoint(path, read);
  auto model = model_of_shapes(stored);
  check_tensors_fit(model, stored);
  return model;
}

Model Model::create(text::CLIPTokenizer tokenizer, ModelSettings settings) {
  Model model;
  model.towers = {{.part = Part::kTextEncoder, .tokenizer = std::move(tokenizer)}};
  model.settings = std::move(settings);
  model.model_index = checkpoint::model_index_of(model.settings.scheduler_config);
  model.schedule = in_context(
      "the new model", [&] { return NoiseSchedule::from_config(model.settings.scheduler_config); });
  build_networks(model, "the new model");
  check_parts_fit(model, "the new model");
  return model;
}

std::shared_ptr<torch::nn::Module> Model::network(Part part) const {
  if (part == Part::kUNet) return unet.ptr();
  if (part == Part::kVae) return vae.ptr();
  for (const auto& tower : towers) {
    if (tower.part == part) return tower.encoder.ptr();
  }
  throw std::out_of_range(fmt::format("the model has no {}", name_of(part)));
}

std::vector<Part> Model::tuned_parts() const {
  std::vector<Part> parts = {Part::kUNet};
  for (const auto& tower : towers) parts.push_back(tower.part);
  std::sort(parts.begin(), parts.end());
  return parts;
}

void Model::save(const fs::path& path, Existing existing) const {
  save(path, SaveOptions{.existing = existing, .write = {}});
}

void Model::save(const fs::path& path, const SaveOptions& options) const {
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

torch::Device Model::device() const { return unet->parameters().front().device(); }

torch::ScalarType Model::dtype() const { return unet->parameters().front().scalar_type(); }

std::string model_hash(const Model& model) {
  torch::NoGradGuard no_grad;
  Sha256 sha;
  for (const auto& [part, config] : model.settings.configs) {
    hash_network(sha, folder_of(part), *model.network(part));
  }
  return sha.hex();
}

}  // namespace mos::diffusion
