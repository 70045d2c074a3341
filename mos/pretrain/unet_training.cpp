#include "mos/pretrain/unet_training.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <unordered_map>

#include "mos/base/file.h"
#include "mos/base/random.h"
#include "mos/io/image.h"
#include "mos/io/safetensors.h"
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

/// Captions of a split as rows of a list of unique captions.
struct CaptionRows {
  std::vector<std::string> captions = {""};
  std::unordered_map<std::string, std::int64_t> row = {{"", 0}};

  Tensor add(const Dataset& data, Split split) {
    auto rows = torch::empty({data.size(split)}, torch::kInt64);
    auto at = rows.accessor<std::int64_t, 1>();
    for (std::int64_t i = 0; i < rows.size(0); ++i) {
      const auto caption = data.caption(split, i);
      const auto [found, is_new] = row.emplace(caption, static_cast<std::int64_t>(captions.size()));
      if (is_new) captions.push_back(caption);
      at[i] = found->second;
    }
    return rows;
  }
};

Tensor encode_all(nn::CLIPTextModel& encoder, const text::CLIPTokenizer& tokenizer,
                  const std::vector<std::string>& captions, const ProgressCallback& progress,
                  const CancelToken* cancel) {
  const auto start = std::chrono::steady_clock::now();
  const auto count = static_cast<std::int64_t>(captions.size());
  std::vector<Tensor> parts;
  for (std::int64_t i = 0; i < count; i += kCacheBatch) {
    if (cancel != nullptr) cancel->check();
    const auto end = std::min(i + kCacheBatch, count);
    parts.push_back(
        encode_captions(encoder, tokenizer, {captions.begin() + i, captions.begin() + end}));
    report(progress, "encoding captions", end, count, start);
  }
  return torch::cat(parts);
}

std::filesystem::path cache_path(const std::filesystem::path& base) {
  return base / "data" / "latents.safetensors";
}

/// One batch of noisy latents and what the U-Net should say of them.
struct Batch {
  Tensor noisy, timesteps, context, target;
};

struct UNetLoss {
  nn::UNet2DConditionModel unet;
  LatentCache cache;
  diffusion::NoiseSchedule schedule;
  Tensor weights;  // [T]
  UNetOptions options;
  EpochOrder order;
  Tensor pairs;  // int64: the pictures with two subjects
  EpochOrder pair_order;

  Batch noise(const Tensor& clean, const Tensor& rows, at::Generator& generator) const {
    const auto count = clean.size(0);
    const auto eps = mos::randn(clean.sizes(), generator);
    const auto t = mos::randint(0, schedule.size(), {count}, generator);
    return {.noisy = schedule.add_noise(clean, eps, t),
            .timesteps = t,
            .context = cache.states.index_select(0, rows),
            .target = schedule.target(clean, eps, t)};
  }

  Tensor weighted_error(const Batch& batch) {
    const auto output =
        unet->forward(batch.noisy.to(kCompute), batch.timesteps, batch.context).to(torch::kFloat32);
    const auto error = (output - batch.target).square().flatten(1).mean(1);
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
    auto rows = cache.caption_row.index_select(0, indices);
    const auto kept = torch::rand({rows.size(0)}, generator,
                                  torch::TensorOptions(torch::kFloat32)) >= options.empty_captions;
    rows = torch::where(kept, rows, torch::zeros_like(rows));
    const auto clean = cache.latents.index_select(0, indices).to(torch::kFloat32);
    return weighted_error(noise(clean, rows, generator));
  }
};

Tensor pictures_with_two(const Dataset& data) {
  std::vector<std::int64_t> indices;
  const auto& specs = data.specs(Split::kTrain);
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (specs[i].subjects.size() == 2) indices.push_back(static_cast<std::int64_t>(i));
  }
  return torch::tensor(indices, torch::kInt64);
}

/// Loss on held-out latents with fixed noise: comparable from one measurement to the next.
class Validation {
 public:
  Validation(const std::filesystem::path& base, const Dataset& data) {
    auto vae = load_vae(base);
    auto encoder = load_text_encoder(base);
    const auto tokenizer = text::CLIPTokenizer::from_directory(base / "tokenizer");
    const torch::NoGradGuard no_grad;
    std::vector<Tensor> latents, states;
    for (std::int64_t i = 0; i < std::min(kMeasured, data.size(Split::kHeldOut));
         i += kCacheBatch) {
      const auto end = std::min({i + kCacheBatch, kMeasured, data.size(Split::kHeldOut)});
      const auto pictures = data.batch(Split::kHeldOut, torch::arange(i, end), kCompute);
      latents.push_back(vae->encode(pictures).mean.to(torch::kFloat32));
      std::vector<std::string> captions;
      for (auto j = i; j < end; ++j) captions.push_back(data.caption(Split::kHeldOut, j));
      states.push_back(encode_captions(encoder, tokenizer, captions));
    }
    latents_ = torch::cat(latents);
    states_ = torch::cat(states);
  }

  double operator()(UNetLoss& loss) const {
    double sum = 0.0;
    for (std::int64_t i = 0; i < latents_.size(0); i += kCacheBatch) {
      const auto count = std::min(kCacheBatch, latents_.size(0) - i);
      auto generator = generator_of_step(99, i);
      auto batch =
          loss.noise(latents_.narrow(0, i, count), torch::zeros({count}, torch::kInt64), generator);
      batch.context = states_.narrow(0, i, count);
      sum += loss.weighted_error(batch).item<double>() * static_cast<double>(count);
    }
    return sum / static_cast<double>(latents_.size(0));
  }

 private:
  Tensor latents_, states_;
};

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

void freeze_text_encoder(const std::filesystem::path& base) {
  const auto folder = base / "text_encoder";
  if (std::filesystem::exists(folder / "config.json")) return;
  std::filesystem::create_directories(folder);
  io::StateDict weights;
  for (const auto& [name, tensor] : io::load_safetensors(base / "towers" / "model.safetensors")) {
    if (name.starts_with("text_model.")) weights[name] = tensor;
  }
  io::save_safetensors(folder / "model.safetensors", weights);
  Json config = read_json_file(base / "towers" / "config.json").at("text_config");
  config["architectures"] = Json::array({"CLIPTextModel"});
  write_text_file(folder / "config.json", config.dump(2) + "\n");
}

nn::CLIPTextModel load_text_encoder(const std::filesystem::path& base) {
  const auto folder = base / "text_encoder";
  nn::CLIPTextModel encoder(nn::ClipTextConfig::from_json(read_json_file(folder / "config.json")));
  const auto path = folder / "model.safetensors";
  io::load_into(*encoder, io::load_safetensors(path), {.origin = path.string()});
  return encoder;
}

LatentCache LatentCache::open(const std::filesystem::path& base, const Dataset& data,
                              const ProgressCallback& progress, const CancelToken* cancel) {
  const auto path = cache_path(base);
  if (!std::filesystem::exists(path)) {
    freeze_text_encoder(base);
    auto vae = load_vae(base);
    auto encoder = load_text_encoder(base);
    const auto tokenizer = text::CLIPTokenizer::from_directory(base / "tokenizer");
    CaptionRows rows;
    const auto caption_row = rows.add(data, Split::kTrain);
    io::save_safetensors(
        path, {{"latents", encode_pictures(vae, data, Split::kTrain, progress, cancel)},
               {"states", encode_all(encoder, tokenizer, rows.captions, progress, cancel)},
               {"caption_row", caption_row}});
  }
  const io::SafetensorsFile file(path);
  return {.latents = file.get("latents"),
          .states = file.get("states"),
          .caption_row = file.get("caption_row")};
}

void train_unet(const std::filesystem::path& base, const UNetOptions& options,
                const ProgressCallback& progress, const CancelToken* cancel) {
  const Dataset data(base);
  auto cache = LatentCache::open(base, data, progress, cancel);
  const auto folder = base / "unet";
  const auto config =
      unet_config_json(options, cache.latents.size(1), cache.latents.size(2), cache.states.size(2));
  std::filesystem::create_directories(folder);
  write_text_file(folder / "config.json", config.dump(2) + "\n");
  const auto scheduler = scheduler_config_json(options.prediction);
  write_text_file(folder / "scheduler_config.json", scheduler.dump(2) + "\n");

  nn::UNet2DConditionModel unet(nn::UNetConfig::from_json(config));
  auto generator = seeded_generator(static_cast<std::uint64_t>(options.train.seed));
  initialise_network(*unet, generator, /*zero_output=*/true);
  FlatAdamW optimizer(*unet, {.weight_decay = options.train.weight_decay,
                              .average = options.train.average,
                              .working_dtype = kCompute});
  const auto schedule = diffusion::NoiseSchedule::from_config(scheduler);
  const auto pairs = pictures_with_two(data);
  UNetLoss loss{.unet = unet,
                .cache = cache,
                .schedule = schedule,
                .weights = min_snr_weights(schedule, options.snr_cap),
                .options = options,
                .order = EpochOrder(cache.latents.size(0), options.train.seed),
                .pairs = pairs,
                .pair_order = EpochOrder(pairs.numel(), options.train.seed + 1)};
  const Validation validation(base, data);
  const auto measure = [&](std::int64_t step) {
    auto vae = load_vae(base);
    auto encoder = load_text_encoder(base);
    const auto tokenizer = text::CLIPTokenizer::from_directory(base / "tokenizer");
    io::write_png(folder / fmt::format("sheet_{:06}.png", step),
                  contact_sheet({unet, vae, encoder, tokenizer, scheduler}, data.world()));
    return Json{{"held_out_loss", validation(loss)}};
  };
  train(optimizer, {.stage = "unet",
                    .folder = folder,
                    .options = options.train,
                    .loss = [&loss](std::int64_t step) { return loss(step); },
                    .measure = measure,
                    .progress = progress,
                    .cancel = cancel});
}

nn::UNet2DConditionModel load_unet(const std::filesystem::path& base, torch::ScalarType dtype) {
  const auto folder = base / "unet";
  nn::UNet2DConditionModel unet(nn::UNetConfig::from_json(read_json_file(folder / "config.json")));
  unet->to(dtype);
  io::load_into(*unet, averaged_weights(folder), {.origin = folder.string()});
  return unet;
}

}  // namespace mos::pretrain
