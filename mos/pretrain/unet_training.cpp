#include "mos/pretrain/unet_training.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/base/random.h"
#include "mos/io/image.h"
#include "mos/io/safetensors.h"
#include "mos/pretrain/batches.h"
#include "mos/pretrain/initialise.h"
#include "mos/pretrain/sampling.h"
#include "mos/pretrain/tower_training.h"
#include "mos/pretrain/vae_training.h"

namespace mos::pretrain {

using torch::Tensor;
using world::Split;

namespace {

constexpr auto kCompute = torch::kBFloat16;
constexpr std::int64_t kCacheBatch = 32;
constexpr std::int64_t kMeasured = 192;  // held-out pictures for the validation loss

void report(const ProgressCallback& progress, const char* stage, std::int64_t done,
            std::int64_t total, std::chrono::steady_clock::time_point start) {
  const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
  if (!progress) return;
  progress({.stage = stage,
            .step = done,
            .total = total,
            .loss = std::nan(""),
            .seconds = spent.count()});
}

Tensor encode_pictures(nn::AutoencoderKL& vae, const Dataset& data, Split split,
                       const ProgressCallback& progress, const CancelToken* cancel) {
  const torch::NoGradGuard no_grad;
  const auto start = std::chrono::steady_clock::now();
  const auto count = data.size(split);
  std::vector<Tensor> parts;
  for (std::int64_t i = 0; i < count; i += kCacheBatch) {
    if (cancel != nullptr) cancel->check();
    const auto end = std::min(i + kCacheBatch, count);
    const auto mean = vae->encode(data.batch(split, torch::arange(i, end), kCompute)).mean;
    parts.push_back((mean * vae->config().scaling_factor).contiguous());
    report(progress, "encoding pictures", end, count, start);
  }
  return torch::cat(parts);
}

/// The U-Net and the text encoder that it reads: one network for the optimiser.
struct GuidedUNet : torch::nn::Module {
  GuidedUNet(const Json& unet_config, const Json& text_config)
      : unet(nn::UNetConfig::from_json(unet_config)),
        text_encoder(nn::ClipTextConfig::from_json(text_config)) {
    register_module("unet", unet);
    register_module("text_encoder", text_encoder);
  }
  nn::UNet2DConditionModel unet;
  nn::CLIPTextModel text_encoder;
};

struct UNetLoss {
  std::shared_ptr<GuidedUNet> networks;
  const Dataset& data;
  const text::CLIPTokenizer& tokenizer;
  Tensor latents;  // bfloat16 [N,C,h,w]
  diffusion::NoiseSchedule schedule;
  Tensor weights;  // [T]
  UNetOptions options;
  EpochOrder order;
  Tensor pairs;  // int64: the pictures with two subjects
  EpochOrder pair_order;
  Share share;

  NoisyBatch noise(const Tensor& clean, at::Generator& generator) const {
    return add_noise(schedule, clean, generator, TimestepDraw::kUniform);
  }

  Tensor weighted_error(const NoisyBatch& batch, const std::vector<std::string>& captions) {
    const auto ids = token_ids(tokenizer, captions, /*full=*/true);
    const auto context = networks->text_encoder->forward(ids).last_hidden_state;
    const auto output =
        networks->unet->forward(batch.noisy.to(kCompute), batch.timesteps, context.to(kCompute));
    const auto error = (output.to(torch::kFloat32) - batch.target).square().flatten(1).mean(1);
    return (error * weights.index_select(0, batch.timesteps)).mean();
  }

  Tensor draw(std::int64_t step) {
    const auto batch = options.train.batch;
    const auto paired = std::llround(options.pair_share * static_cast<double>(batch));
    if (paired <= 0 || pairs.numel() == 0) return order.batch(step, batch);
    const auto chosen = pairs.index_select(0, pair_order.batch(step, paired));
    return paired >= batch ? chosen : torch::cat({chosen, order.batch(step, batch - paired)});
  }

  Tensor operator()(std::int64_t step) {
    auto generator = generator_of_step(options.train.seed, step);
    const auto indices = draw(step);
    const auto clean = latents.index_select(0, indices).to(torch::kFloat32);
    const auto batch = noise(clean, generator);
    const auto captions =
        draw_captions(data, indices, options.train.seed, step, {.empty = options.empty_captions});
    const auto mine = share.part(torch::arange(indices.size(0)));
    const auto first = captions.begin() + mine[0].item<std::int64_t>();
    return weighted_error({.noisy = share.part(batch.noisy),
                           .timesteps = share.part(batch.timesteps),
                           .target = share.part(batch.target)},
                          {first, first + mine.size(0)});
  }
};

Tensor pictures_with_two(const Dataset& data) {
  std::vector<std::int64_t> indices;
  for (std::int64_t i = 0; i < data.size(Split::kTrain); ++i) {
    if (data.layout(Split::kTrain, i).caption.subjects.size() == 2) indices.push_back(i);
  }
  return torch::tensor(indices, torch::kInt64);
}

/// Loss on held-out latents with fixed noise: comparable from one measurement to the next.
class Validation {
 public:
  Validation(const std::filesystem::path& base, const Dataset& data) {
    auto vae = load_vae(base);
    const torch::NoGradGuard no_grad;
    std::vector<Tensor> latents;
    const auto total = std::min(kMeasured, data.size(Split::kHeldOut));
    for (std::int64_t i = 0; i < total; i += kCacheBatch) {
      const auto end = std::min(i + kCacheBatch, total);
      const auto pictures = data.batch(Split::kHeldOut, torch::arange(i, end), kCompute);
      latents.push_back(vae->encode(pictures).mean.to(torch::kFloat32));
      for (auto j = i; j < end; ++j) captions_.push_back(data.caption(Split::kHeldOut, j));
    }
    latents_ = torch::cat(latents);
  }

  double operator()(UNetLoss& loss) const {
    double sum = 0.0;
    for (std::int64_t i = 0; i < latents_.size(0); i += kCacheBatch) {
      const auto count = std::min(kCacheBatch, latents_.size(0) - i);
      auto generator = generator_of_step(99, i);
      const auto batch = loss.noise(latents_.narrow(0, i, count), generator);
      const std::vector<std::string> captions(captions_.begin() + i, captions_.begin() + i + count);
      sum += loss.weighted_error(batch, captions).item<double>() * static_cast<double>(count);
    }
    return sum / static_cast<double>(latents_.size(0));
  }

 private:
  Tensor latents_;
  std::vector<std::string> captions_;
};

/// The averaged weights of the checkpoint whose names start with `prefix`, without it.
io::StateDict averaged_part(const std::filesystem::path& folder, const std::string& prefix) {
  io::StateDict part;
  for (const auto& [name, tensor] : averaged_weights(folder)) {
    if (name.starts_with(prefix)) part[name.substr(prefix.size())] = tensor;
  }
  return part;
}

Json text_config_json(const std::filesystem::path& base) {
  if (!std::filesystem::exists(base / "towers" / "model.safetensors")) {
    throw Error(ErrorKind::kIo,
                fmt::format("{} holds no finished towers, whose text half the U-Net "
                            "reads; train them with `mos pretrain towers --out {}`",
                            base.string(), base.string()));
  }
  auto config = read_json_file(base / "towers" / "config.json").at("text_config");
  config["architectures"] = Json::array({"CLIPTextModel"});
  return config;
}

void start_from_towers(nn::CLIPTextModel& encoder, const std::filesystem::path& base) {
  const auto path = base / "towers" / "model.safetensors";
  io::StateDict text_half;
  for (const auto& [name, tensor] : io::load_safetensors(path)) {
    if (name.starts_with("text_model.")) text_half[name] = tensor;
  }
  io::load_into(*encoder, text_half, {.origin = path.string()});
}

}  // namespace

Json unet_config_json(const UNetOptions& options, std::int64_t latent_channels,
                      std::int64_t latent_side, std::int64_t text_width) {
  const auto levels = options.block_out_channels.size();
  return {{"_class_name", "UNet2DConditionModel"},
          {"act_fn", "silu"},
          {"attention_head_dim", options.heads},
          {"block_out_channels", options.block_out_channels},
          {"center_input_sample", false},
          {"cross_attention_dim", text_width},
          {"down_block_types", std::vector<std::string>(levels, "CrossAttnDownBlock2D")},
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
          {"up_block_types", std::vector<std::string>(levels, "CrossAttnUpBlock2D")},
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

Tensor encode_captions(nn::CLIPTextModel& encoder, const text::CLIPTokenizer& tokenizer,
                       const std::vector<std::string>& captions) {
  const torch::NoGradGuard no_grad;
  return encoder->forward(token_ids(tokenizer, captions, /*full=*/true))
      .last_hidden_state.to(kCompute);
}

Tensor open_latents(const std::filesystem::path& base, const Dataset& data,
                    const ProgressCallback& progress, const CancelToken* cancel) {
  const auto path = base / "data" / "latents.safetensors";
  if (!std::filesystem::exists(path)) {
    auto vae = load_vae(base);
    io::save_safetensors(
        path, {{"latents", encode_pictures(vae, data, Split::kTrain, progress, cancel)}});
  }
  return io::SafetensorsFile(path).get("latents");
}

void train_unet(const std::filesystem::path& base, const UNetOptions& options,
                const ProgressCallback& progress, const CancelToken* cancel) {
  const Dataset data(base);
  const auto tokenizer = text::CLIPTokenizer::from_directory(base / "tokenizer");
  const auto text_config = text_config_json(base);
  const auto latents = open_latents(base, data, progress, cancel);
  const auto folder = base / "unet";
  const auto config = unet_config_json(options, latents.size(1), latents.size(2),
                                       text_config.at("hidden_size").get<std::int64_t>());
  const auto scheduler = scheduler_config_json(options.prediction);
  make_folders(folder);
  write_text_file(folder / "config.json", config.dump(2) + "\n");
  write_text_file(folder / "text_config.json", text_config.dump(2) + "\n");
  write_text_file(folder / "scheduler_config.json", scheduler.dump(2) + "\n");

  const auto networks = std::make_shared<GuidedUNet>(config, text_config);
  auto generator = seeded_generator(static_cast<std::uint64_t>(options.train.seed));
  initialise_network(*networks->unet, generator, /*zero_output=*/true);
  start_from_towers(networks->text_encoder, base);
  FlatAdamW optimizer(*networks, {.weight_decay = options.train.weight_decay,
                                  .average = options.train.average,
                                  .working_dtype = kCompute});
  const auto schedule = diffusion::NoiseSchedule::from_config(scheduler);
  const auto pairs = pictures_with_two(data);
  UNetLoss loss{.networks = networks,
                .data = data,
                .tokenizer = tokenizer,
                .latents = latents,
                .schedule = schedule,
                .weights = min_snr_weights(schedule, options.snr_cap),
                .options = options,
                .order = EpochOrder(latents.size(0), options.train.seed),
                .pairs = pairs,
                .pair_order = EpochOrder(pairs.numel(), options.train.seed + 1),
                .share = {}};
  const auto replica = [&] {
    const auto copy = std::make_shared<GuidedUNet>(config, text_config);
    optimizer.add_replica(*copy);
    return copy;
  };
  const Validation validation(base, data);
  const auto measure = [&](std::int64_t step) {
    auto vae = load_vae(base);
    io::write_png(folder / fmt::format("sheet_{:06}.png", step),
                  contact_sheet({networks->unet, vae, networks->text_encoder, tokenizer, scheduler},
                                data.world()));
    return Json{{"held_out_loss", validation(loss)}};
  };
  train(optimizer, {.stage = "unet",
                    .folder = folder,
                    .options = options.train,
                    .losses = shared_losses(loss, &UNetLoss::networks, replica, options.train),
                    .measure = measure,
                    .progress = progress,
                    .cancel = cancel});
}

nn::UNet2DConditionModel load_unet(const std::filesystem::path& base, torch::ScalarType dtype) {
  const auto folder = base / "unet";
  nn::UNet2DConditionModel unet(nn::UNetConfig::from_json(read_json_file(folder / "config.json")));
  unet->to(dtype);
  io::load_into(*unet, averaged_part(folder, "unet."), {.origin = folder.string()});
  return unet;
}

nn::CLIPTextModel load_text_encoder(const std::filesystem::path& base, torch::ScalarType dtype) {
  const auto folder = base / "unet";
  nn::CLIPTextModel encoder(
      nn::ClipTextConfig::from_json(read_json_file(folder / "text_config.json")));
  encoder->to(dtype);
  io::load_into(*encoder, averaged_part(folder, "text_encoder."), {.origin = folder.string()});
  return encoder;
}

}  // namespace mos::pretrain
