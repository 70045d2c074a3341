#include "mos/pretrain/vae_training.h"

#include <fmt/core.h>

#include <cmath>
#include <memory>

#include "mos/base/device.h"
#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/base/log.h"
#include "mos/base/random.h"
#include "mos/io/image.h"
#include "mos/io/safetensors.h"
#include "mos/pretrain/compute.h"
#include "mos/pretrain/decoder_training.h"
#include "mos/pretrain/initialise.h"
#include "mos/pretrain/stage.h"

namespace mos::pretrain {

using torch::Tensor;
using world::Split;

namespace {

constexpr double kSquaredWeight = 4.0;
constexpr double kAbsoluteWeight = 0.15;
constexpr double kGradientWeight = 0.5;
constexpr int kScales = 3;
constexpr std::int64_t kMeasuredByVae = 64;     // held-out pictures for a figure of the log
constexpr std::int64_t kNormalisedOver = 1024;  // training pictures for the latent statistics
constexpr std::int64_t kVaeBatch = 16;

Tensor gradient_difference(const Tensor& a, const Tensor& b) {
  const auto d = a - b;
  // The gradient of the difference, not the difference of magnitudes: an edge in another place is
  // wrong twice.
  const auto horizontal = (d.slice(3, 1) - d.slice(3, 0, -1)).abs().mean();
  const auto vertical = (d.slice(2, 1) - d.slice(2, 0, -1)).abs().mean();
  return horizontal + vertical;
}

/// One random square of `side` pixels of each picture [B,H,W,3].
Tensor random_crops(const Tensor& pictures, std::int64_t side, at::Generator& generator) {
  const auto count = pictures.size(0);
  const auto offsets = torch::randint(pictures.size(1) - side + 1, {count, 2}, generator,
                                      torch::TensorOptions(torch::kInt64));
  const auto at = offsets.accessor<std::int64_t, 2>();
  std::vector<Tensor> crops;
  for (std::int64_t i = 0; i < count; ++i) {
    crops.push_back(pictures[i].narrow(0, at[i][0], side).narrow(1, at[i][1], side));
  }
  return torch::stack(crops);
}

/// Pictures uint8 [B,H,W,3] of a step, and its generator behind what was drawn for them.
struct ShownPictures {
  Tensor pictures;
  at::Generator generator;
};

struct VaeLoss {
  nn::AutoencoderKL vae;
  const Dataset& data;
  const VaeOptions& options;
  EpochOrder order;
  Share share;
  std::shared_ptr<Ahead<ShownPictures>> ahead = nullptr;  // empty on a CPU

  ShownPictures show(std::int64_t step) {
    auto own = generator_of_step(options.train.seed, step, /*purpose=*/1 + share.index);
    const bool crops =
        static_cast<double>(step) < options.crop_share * static_cast<double>(options.train.steps);
    const auto size = crops ? options.train.batch : options.full_batch;
    const auto mine = share.part(order.batch(step, size));
    auto pictures = data.pictures(Split::kTrain, mine);
    // Convolutions learn from pieces; only the last share of the steps sees whole pictures.
    if (crops) pictures = random_crops(pictures, options.crop, own);
    return {pictures, own};
  }

  Tensor operator()(std::int64_t step) {
    auto shown = ahead ? ahead->take(step) : show(step);
    const auto device = device_of(*vae);
    const auto pictures = to_network(shown.pictures.to(device), kCompute);
    const auto latents = vae->encode(pictures);
    const auto noise = randn_on(device, latents.mean.sizes(), shown.generator).to(kCompute);
    // Reparametrised (arXiv 1312.6114), so the gradient reaches both.
    const auto sample = latents.mean + latents.std() * noise;
    const auto target = pictures.to(torch::kFloat32);
    return reconstruction_loss(vae->decode(sample).to(torch::kFloat32), target) +
           options.kl_weight * kl_divergence(latents);
  }
};

struct LatentStatistics {
  Tensor mean, deviation;  // [latent]
};

LatentStatistics latent_statistics(nn::AutoencoderKL& vae, const Dataset& data) {
  const auto count = std::min(kNormalisedOver, data.size(Split::kTrain));
  std::vector<Tensor> parts;
  for (std::int64_t i = 0; i < count; i += kVaeBatch) {
    const auto indices = torch::arange(i, std::min(i + kVaeBatch, count));
    const auto mean = vae->encode(data.batch(Split::kTrain, indices, kCompute)).mean;
    parts.push_back(mean.to(torch::kFloat32).permute({0, 2, 3, 1}).flatten(0, 2));
  }
  const auto all = torch::cat(parts);
  return {all.mean(0), all.std(0)};
}

void copy_weights(torch::nn::Module& module, const io::StateDict& weights,
                  const std::string& origin) {
  io::load_into(module, weights, {.origin = origin});
}

void write_finished(nn::AutoencoderKL& vae, const std::filesystem::path& folder,
                    const Json& config) {
  io::save_safetensors(folder / "model.safetensors", io::state_dict_of(*vae));
  write_json(folder / "config.json", config);
}

/// Figures of a VAE in training: its latents are not normalised yet.
Json measure_vae(nn::AutoencoderKL& vae, const Dataset& data) {
  const auto pictures = data.batch(Split::kHeldOut, torch::arange(kVaeBatch), kCompute);
  const auto latents = vae->encode(pictures.to(device_of(*vae)));
  const auto mean = latents.mean.to(torch::kFloat32);
  const auto deviation = mean.permute({1, 0, 2, 3}).flatten(1).std(1);  // of each channel
  const auto sigma = latents.std().to(torch::kFloat32).mean({0, 2, 3});
  return {{"psnr", held_out_psnr(vae, data, kMeasuredByVae)},
          {"latent_deviation", mean.std().item<double>()},
          {"posterior_sigma", sigma.mean().item<double>()},
          {"noise_to_signal", (sigma / deviation).mean().item<double>()}};
}

}  // namespace

Tensor reconstruction_sheet(nn::AutoencoderKL& vae, const Dataset& data) {
  constexpr std::int64_t kColumns = 8;
  const torch::NoGradGuard no_grad;
  const auto pictures = data.batch(Split::kHeldOut, torch::arange(kColumns), kCompute);
  const auto latents = vae->encode(pictures.to(device_of(*vae))).mean;
  const auto copies = from_network(vae->decode(latents).to(torch::kCPU));
  std::vector<Tensor> cells;
  const auto originals = data.pictures(Split::kHeldOut, torch::arange(kColumns));
  for (std::int64_t i = 0; i < kColumns; ++i) cells.push_back(originals[i]);
  for (std::int64_t i = 0; i < kColumns; ++i) cells.push_back(copies[i]);
  return io::make_grid(cells, kColumns, 2);
}

Json vae_config_json(const VaeOptions& options) {
  const auto levels = options.block_out_channels.size();
  return {{"_class_name", "AutoencoderKL"},
          {"act_fn", "silu"},
          {"block_out_channels", options.block_out_channels},
          {"down_block_types", std::vector<std::string>(levels, "DownEncoderBlock2D")},
          {"up_block_types", std::vector<std::string>(levels, "UpDecoderBlock2D")},
          {"in_channels", 3},
          {"out_channels", 3},
          {"latent_channels", options.latent_channels},
          {"layers_per_block", 1},
          {"norm_num_groups", 8},
          {"sample_size", 128},
          {"scaling_factor", 1.0}};
}

Tensor reconstruction_loss(const Tensor& result, const Tensor& picture) {
  auto loss = kSquaredWeight * (result - picture).square().mean();
  auto a = result, b = picture;
  for (int scale = 0; scale < kScales; ++scale) {
    if (scale > 0) {
      a = torch::avg_pool2d(a, 2);
      b = torch::avg_pool2d(b, 2);
    }
    loss = loss +
           kAbsoluteWeight * ((a - b).abs().mean() + kGradientWeight * gradient_difference(a, b));
  }
  return loss;
}

Tensor kl_divergence(const nn::LatentDistribution& latents) {
  const auto mean = latents.mean.to(torch::kFloat32);
  const auto logvar = latents.logvar.to(torch::kFloat32);
  return 0.5 * (mean.square() + logvar.exp() - 1.0 - logvar).sum(1).mean();
}

Tensor psnr(const Tensor& result, const Tensor& picture) {
  const auto error = (result.to(torch::kFloat32).clamp(-1, 1) - picture.to(torch::kFloat32));
  // 4 = 2²: pixels span -1…1.
  return 10.0 * torch::log10(4.0 / error.square().flatten(1).mean(1).clamp_min(1e-10));
}

void fold_normalisation(nn::AutoencoderKL& vae, const Tensor& mean, const Tensor& deviation) {
  const torch::NoGradGuard no_grad;
  // Handles: what is changed here is changed in the network.
  auto weights = io::state_dict_of(*vae);
  const auto channels = vae->config().latent_channels;
  auto quant = weights.at("quant_conv.weight");  // [2·latent, 2·latent, 1, 1]
  auto quant_bias = weights.at("quant_conv.bias");
  quant.narrow(0, 0, channels).div_(deviation.view({channels, 1, 1, 1}));
  quant_bias.narrow(0, 0, channels).sub_(mean).div_(deviation);
  // logvar of x/σ is that of x minus 2 log σ.
  quant_bias.narrow(0, channels, channels).sub_(2.0 * deviation.log());
  auto post = weights.at("post_quant_conv.weight");  // [latent, latent, 1, 1]
  weights.at("post_quant_conv.bias").add_(post.flatten(1).mv(mean));
  post.mul_(deviation.view({1, channels, 1, 1}));
}

double held_out_psnr(nn::AutoencoderKL& vae, const Dataset& data, std::int64_t count) {
  const torch::NoGradGuard no_grad;
  std::vector<Tensor> parts;
  for (std::int64_t i = 0; i < count; i += kVaeBatch) {
    const auto indices = torch::arange(i, std::min(i + kVaeBatch, count));
    const auto pictures = data.batch(Split::kHeldOut, indices, kCompute).to(device_of(*vae));
    parts.push_back(psnr(vae->decode(vae->encode(pictures).mean), pictures));
  }
  return torch::cat(parts).mean().item<double>();
}

void train_vae(const std::filesystem::path& base, const VaeOptions& options,
               const ProgressCallback& progress, const CancelToken* cancel) {
  const Dataset data(base);
  const auto folder = base / "vae";
  const auto device = device_named(options.device);
  const auto train_options = on_device(options.train, device);
  // Latents belong to the bytes of the VAE that made them: a finished one is left alone.
  const bool finished_before = std::filesystem::exists(folder / "model.safetensors");
  if (finished_before && checkpoint_step(folder) >= options.train.steps) {
    log::info(fmt::format("vae: finished, {} steps", options.train.steps));
    return;
  }
  const auto config = vae_config_json(options);
  const auto make = [&config] {
    nn::AutoencoderKL vae(nn::VaeConfig::from_json(config));
    nn::use_engine(*vae, nn::Engine::kFused);
    return vae;
  };
  auto vae = make();
  auto generator = seeded_generator(static_cast<std::uint64_t>(options.train.seed));
  initialise_network(*vae, generator);
  vae->to(device);
  FlatAdamW optimizer(*vae, {.weight_decay = options.train.weight_decay,
                             .average = options.train.average,
                             .working_dtype = kCompute});
  VaeLoss loss{.vae = vae,
               .data = data,
               .options = options,
               .order = EpochOrder(data.size(Split::kTrain), options.train.seed),
               .share = {}};
  loss.ahead = made_ahead(loss, &VaeLoss::show, device);
  const auto replica = [&] {
    auto copy = make();
    optimizer.add_replica(*copy);
    return copy;
  };
  const auto measure = [&](std::int64_t step) {
    io::write_png(folder / fmt::format("sheet_{:06}.png", step), reconstruction_sheet(vae, data));
    return measure_vae(vae, data);
  };
  run_training(optimizer, {.stage = "vae",
                           .folder = folder,
                           .options = train_options,
                           .losses = shared_losses(loss, &VaeLoss::vae, replica, train_options),
                           .measure = measure,
                           .progress = progress,
                           .cancel = cancel});
  const torch::NoGradGuard no_grad;
  nn::AutoencoderKL finished(nn::VaeConfig::from_json(config));
  copy_weights(*finished, optimizer.state_of("average/"), "the trained VAE");
  const auto statistics = latent_statistics(finished, data);
  fold_normalisation(finished, statistics.mean, statistics.deviation);
  write_finished(finished, folder, config);
}

nn::AutoencoderKL finished_vae(const std::filesystem::path& base) {
  const auto folder = base / "vae";
  const auto path = folder / "model.safetensors";
  if (!std::filesystem::exists(path)) {
    throw Error(ErrorKind::kIo, fmt::format("{} holds no finished VAE; train it with `mos pretrain "
                                            "vae --out {}`",
                                            base.string(), base.string()));
  }
  nn::AutoencoderKL vae(nn::VaeConfig::from_json(read_json_file(folder / "config.json")));
  copy_weights(*vae, io::load_safetensors(path), path.string());
  return vae;
}

nn::AutoencoderKL load_vae(const std::filesystem::path& base) {
  auto vae = finished_vae(base);
  const auto decoder = base / "vae_decoder";
  if (checkpoint_step(decoder) > 0) {
    io::load_into(*vae, averaged_weights(decoder),
                  {.allow_missing = [](const std::string& name) { return !is_decoding(name); },
                   .origin = decoder.string()});
  }
  return vae;
}

}  // namespace mos::pretrain
