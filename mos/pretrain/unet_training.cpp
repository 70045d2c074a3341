#include "mos/pretrain/unet_training.h"

#include <fmt/core.h>

#include <algorithm>
#include <memory>

#include "mos/base/device.h"
#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/base/random.h"
#include "mos/io/image.h"
#include "mos/io/safetensors.h"
#include "mos/pretrain/average.h"
#include "mos/pretrain/compute.h"
#include "mos/pretrain/export.h"
#include "mos/pretrain/initialise.h"
#include "mos/pretrain/sampling.h"
#include "mos/pretrain/stage.h"
#include "mos/pretrain/tower_training.h"
#include "mos/pretrain/unet_loss.h"
#include "mos/pretrain/vae_training.h"
#include "mos/train/muon.h"

namespace mos::pretrain {

using checkpoint::Part;
using torch::Tensor;

namespace {

/// What write_configs() has left in `base`.
Json trained_config(const std::filesystem::path& base, const char* file) {
  const auto path = base / "unet" / file;
  if (!std::filesystem::exists(path)) {
    throw Error(ErrorKind::kIo, fmt::format("{} holds no U-Net; train it with `mos pretrain unet "
                                            "--out {}`",
                                            base.string(), base.string()));
  }
  return read_json_file(path);
}

/// Fills `network`, which has float32 weights, with the running average of part `part` in the
/// latest checkpoint of `base`, averaged further where that was asked for (average.h).
void load_part(torch::nn::Module& network, Part part, const std::filesystem::path& base) {
  const auto folder = base / "unet";
  const auto prefix = fmt::format("{}.", folder_of(part));
  io::StateDict weights;
  for (const auto& [name, tensor] : averaged_weights(folder)) {
    if (name.starts_with(prefix)) weights[name.substr(prefix.size())] = tensor;
  }
  io::load_into(network, std::move(weights), {.origin = folder.string()});
  average(network, part, base);
}

Json text_config_json(const std::filesystem::path& base, const UNetOptions& options) {
  if (!options.start_from.empty()) {
    const std::filesystem::path from = options.start_from;
    const auto folder = weights_file(Part::kTextEncoder).parent_path();
    return read_json_file(from / folder / "config.json");
  }
  if (!std::filesystem::exists(base / "towers" / "model.safetensors")) {
    throw Error(ErrorKind::kIo,
                fmt::format("{} holds no finished towers, whose text half the U-Net "
                            "reads; train them with `mos pretrain towers --out {}`",
                            base.string(), base.string()));
  }
  // The text half of the towers becomes the base's text encoder, which is trained on with the
  // U-Net.
  auto config = read_json_file(base / "towers" / "config.json").at("text_config");
  config["architectures"] = Json::array({"CLIPTextModel"});
  return config;
}

/// What load_base reads beside the weights.
void write_configs(const std::filesystem::path& folder, const Json& unet, const Json& text,
                   const Json& scheduler) {
  make_folders(folder);
  write_json(folder / "config.json", unet);
  write_json(folder / "text_config.json", text);
  write_json(folder / "scheduler_config.json", scheduler);
}

/// Of the levels from the finest on; `attention` may be empty.
std::vector<std::string> block_types(const std::vector<std::int64_t>& attention, std::size_t levels,
                                     const std::string& direction) {
  std::vector<std::string> types(levels, "CrossAttn" + direction + "Block2D");
  for (std::size_t i = 0; i < attention.size(); ++i) {
    if (attention[i] == 0) types.at(i) = direction + "Block2D";
  }
  return types;
}

void check_options(const UNetOptions& options) {
  check_fields(options);
  const auto levels = options.block_out_channels.size();
  for (const auto* attention : {&options.down_attention, &options.up_attention}) {
    if (attention->empty() || attention->size() == levels) continue;
    throw Error(ErrorKind::kUsage,
                fmt::format("block_out_channels names {} levels; down_attention and up_attention "
                            "must name as many or none",
                            levels));
  }
}

/// Muon suits the U-Net; the text encoder, which has been trained before, stays with AdamW.
FlatAdamWOptions optimizer_options(const UNetOptions& options) {
  FlatAdamWOptions result{.weight_decay = options.train.weight_decay,
                          .average = options.train.average,
                          .working_dtype = kCompute};
  if (options.optimizer == "muon") {
    result.muon = [](const std::string& name) {
      return name.starts_with("unet.") && train::muon_suits(name);
    };
  }
  return result;
}

nn::CLIPModel frozen_towers(const std::filesystem::path& base, torch::Device device) {
  auto towers = load_towers(base);
  towers->to(device, kCompute);
  // They are looked at, not trained: no memory for their gradients.
  for (auto& parameter : towers->parameters()) parameter.set_requires_grad(false);
  return towers;
}

void start_from_towers(nn::CLIPTextModel& encoder, const std::filesystem::path& base) {
  const auto path = base / "towers" / "model.safetensors";
  io::StateDict text_half;
  for (const auto& [name, tensor] : io::load_safetensors(path)) {
    if (name.starts_with("text_model.")) text_half[name] = tensor;
  }
  io::load_into(*encoder, text_half, {.origin = path.string()});
}

/// Part `part` of another base. Throws kMismatch where it has other shapes.
void start_from(torch::nn::Module& network, Part part, const std::filesystem::path& other) {
  const auto path = other / weights_file(part);
  io::load_into(network, io::load_safetensors(path), {.origin = path.string()});
}

/// The values that training starts from.
void begin(GuidedUNet& networks, const UNetOptions& options, const std::filesystem::path& base) {
  auto generator = seeded_generator(static_cast<std::uint64_t>(options.train.seed));
  initialise_network(*networks.unet, generator, /*zero_output=*/true);
  if (!networks.alignment.is_empty()) initialise_network(*networks.alignment, generator);
  if (options.start_from.empty()) {
    start_from_towers(networks.tower.encoder, base);
    return;
  }
  start_from(*networks.unet, Part::kUNet, options.start_from);
  start_from(*networks.tower.encoder, Part::kTextEncoder, options.start_from);
}

}  // namespace

Json unet_config_json(const UNetOptions& options, std::int64_t latent_channels,
                      std::int64_t latent_side, std::int64_t text_width) {
  const auto levels = options.block_out_channels.size();
  auto upwards = block_types(options.up_attention, levels, "Up");
  // diffusers lists up blocks from the coarsest on.
  std::reverse(upwards.begin(), upwards.end());
  return {{"_class_name", "UNet2DConditionModel"},
          {"act_fn", "silu"},
          {"attention_head_dim", options.heads},
          {"block_out_channels", options.block_out_channels},
          {"center_input_sample", false},
          {"cross_attention_dim", text_width},
          {"down_block_types", block_types(options.down_attention, levels, "Down")},
          {"downsample_padding", 1},
          {"flip_sin_to_cos", true},
          {"freq_shift", 0},
          {"in_channels", latent_channels},
          {"layers_per_block", 1},
          {"mid_block_scale_factor", 1},
          {"norm_eps", 1e-5},
          {"norm_num_groups", 32},
          {"out_channels", latent_channels},
          {"sample_size", latent_side},
          {"up_block_types", upwards},
          {"use_linear_projection", true}};
}

Json scheduler_config_json(const std::string& prediction) {
  return {{"_class_name", "DDIMScheduler"},
          {"beta_end", 0.012},
          {"beta_schedule", "scaled_linear"},
          {"beta_start", 0.00085},
          {"clip_sample", false},
          {"num_train_timesteps", 1000},
          {"prediction_type", prediction},
          {"set_alpha_to_one", false},
          {"steps_offset", 1}};
}

Tensor min_snr_weights(const diffusion::NoiseSchedule& schedule, double cap) {
  const auto alphas = schedule.alphas_cumprod();
  if (cap <= 0.0) return torch::ones_like(alphas);
  // arXiv 2303.09556: the weight min(SNR, cap) of the error in x0, said in terms of what is
  // predicted.
  const auto snr = alphas / (1.0 - alphas);
  switch (schedule.prediction_type()) {
    case diffusion::PredictionType::kEpsilon:
      return snr.clamp_max(cap) / snr;
    case diffusion::PredictionType::kVelocity:
      return snr.clamp_max(cap) / (snr + 1.0);
    case diffusion::PredictionType::kSample:
      break;
  }
  return snr.clamp_max(cap);
}

nn::Conditioning encode_captions(const diffusion::TextTower& tower,
                                 const std::vector<std::string>& captions) {
  const torch::NoGradGuard no_grad;
  return tower.encode(token_ids(tower.tokenizer, captions, /*full=*/true)).to(kCompute);
}

void train_unet(const std::filesystem::path& base, const UNetOptions& options,
                const ProgressCallback& progress, const CancelToken* cancel) {
  check_options(options);
  const Stopwatch begun;
  const Dataset data(base);
  const PictureDraw pictures(data, options.several);
  const auto tokenizer = text::CLIPTokenizer::from_directory(base / "tokenizer");
  const auto text_config = text_config_json(base, options);
  const auto device = device_named(options.device);
  const LatentStore latents({base, data, device}, progress, cancel);
  const auto folder = base / "unet";
  const auto config = unet_config_json(options, latents.channels(), latents.height(0),
                                       text_config.at("hidden_size").get<std::int64_t>());
  const auto scheduler = scheduler_config_json(options.prediction);
  write_configs(folder, config, text_config, scheduler);
  const auto train_options = on_device(options.train, device);
  const auto towers = options.align > 0.0 ? frozen_towers(base, device) : nn::CLIPModel{nullptr};
  const auto make = [&] {
    auto networks = std::make_shared<GuidedUNet>(config, text_config);
    // The projection is trained and thrown away: only the loss needs it.
    if (!towers.is_empty()) networks->align_with(towers->vision_config().hidden_size);
    return networks;
  };
  const auto networks = make();
  begin(*networks, options, base);
  networks->to(device);
  FlatAdamW optimizer(*networks, optimizer_options(options));
  const auto schedule = diffusion::NoiseSchedule::from_config(scheduler);
  const UNetTask task{
      .data = data,
      .latents = latents,
      .tokenizer = tokenizer,
      .schedule = schedule,
      .plan = CanvasPlan(latents, options.train.batch, options.noises * worker_count(train_options),
                         options.squares),
      .pictures = pictures,
      .weights = min_snr_weights(schedule, options.snr_cap),
      .options = options,
      .device = device,
      .towers = towers};
  const auto replica = [&] {
    const auto copy = make();
    optimizer.add_replica(*copy);
    return copy;
  };
  const HeldOutPictures held_out(base, task);
  const auto measure = [&](std::int64_t step) {
    diffusion::Model now{.unet = networks->unet, .vae = load_vae(base)};
    now.vae->to(device);
    now.towers = {{.tokenizer = tokenizer, .encoder = networks->tower.encoder}};
    now.settings.scheduler_config = scheduler;
    io::write_png(folder / fmt::format("sheet_{:06}.png", step), contact_sheet(now, data.world()));
    return held_out.measure(*networks);
  };
  UNetLoss loss{.networks = networks, .task = task, .share = {}};
  loss.ahead = made_ahead(loss, &UNetLoss::show, device);
  run_training(optimizer,
               {.stage = "unet",
                .folder = folder,
                .options = train_options,
                .losses = shared_losses(loss, &UNetLoss::networks, replica, train_options),
                .measure = measure,
                .progress = progress,
                .cancel = cancel,
                .begun = begun});
}

nn::UNet2DConditionModel untrained_unet(const std::filesystem::path& base) {
  return nn::UNet2DConditionModel(nn::UNetConfig::from_json(trained_config(base, "config.json")));
}

nn::CLIPTextModel untrained_encoder(const std::filesystem::path& base) {
  return nn::CLIPTextModel(nn::ClipTextConfig::from_json(trained_config(base, "text_config.json")));
}

nn::UNet2DConditionModel load_unet(const std::filesystem::path& base, torch::ScalarType dtype) {
  auto unet = untrained_unet(base);
  load_part(*unet, Part::kUNet, base);
  unet->to(dtype);
  return unet;
}

diffusion::TextTower load_text_tower(const std::filesystem::path& base, torch::ScalarType dtype) {
  diffusion::TextTower tower{.tokenizer = text::CLIPTokenizer::from_directory(base / "tokenizer")};
  tower.encoder = untrained_encoder(base);
  load_part(*tower.encoder, tower.part, base);
  tower.encoder->to(dtype);
  return tower;
}

diffusion::Model load_base(const std::filesystem::path& base, torch::ScalarType text_dtype,
                           torch::Device device) {
  diffusion::Model model{.unet = load_unet(base, kCompute), .vae = load_vae(base)};
  model.towers = {load_text_tower(base, text_dtype)};
  model.unet->to(device);
  model.vae->to(device);
  model.towers.front().encoder->to(device);
  model.settings.scheduler_config = read_json_file(base / "unet" / "scheduler_config.json");
  model.schedule = diffusion::NoiseSchedule::from_config(model.settings.scheduler_config);
  return model;
}

}  // namespace mos::pretrain
