#include "mos/pretrain/vae_training.h"

#include <fmt/core.h>

#include <cmath>

#include "mos/base/describe.h"
#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/base/log.h"
#include "mos/base/random.h"
#include "mos/io/image.h"
#include "mos/io/safetensors.h"
#include "mos/pretrain/initialise.h"

namespace mos::pretrain {

using torch::Tensor;
using world::Split;

namespace {

constexpr double kSquaredWeight = 4.0;
constexpr double kAbsoluteWeight = 0.15;
constexpr double kGradientWeight = 0.5;
constexpr int kScales = 3;
constexpr std::int64_t kMeasured = 64;          // held-out pictures for a figure of the log
constexpr std::int64_t kNormalisedOver = 1024;  // training pictures for the latent statistics
constexpr std::int64_t kEncodeBatch = 16;
constexpr auto kCompute = torch::kBFloat16;

Tensor gradient_difference(const Tensor& a, const Tensor& b) {
  const auto d = a - b;
  const auto horizontal = (d.slice(3, 1) - d.slice(3, 0, -1)).abs().mean();
  const auto vertical = (d.slice(2, 1) - d.slice(2, 0, -1)).abs().mean();
  return horizontal + vertical;
}

/// One random square of `side` pixels of each picture [B,3,H,W].
Tensor random_crops(const Tensor& pictures, std::int64_t side, at::Generator& generator) {
  const auto count = pictures.size(0);
  const auto offsets = torch::randint(pictures.size(2) - side + 1, {count, 2}, generator,
                                      torch::TensorOptions(torch::kInt64));
  const auto at = offsets.accessor<std::int64_t, 2>();
  std::vector<Tensor> crops;
  for (std::int64_t i = 0; i < count; ++i) {
    crops.push_back(pictures[i].narrow(1, at[i][0], side).narrow(2, at[i][1], side));
  }
  return torch::stack(crops).contiguous(at::MemoryFormat::ChannelsLast);
}

bool is_decoding(const std::string& name) {
  return name.starts_with("decoder.") || name.starts_with("post_quant_conv.");
}

struct VaeLoss {
  nn::AutoencoderKL vae;
  const Dataset& data;
  const VaeOptions& options;
  EpochOrder order;
  Share share;

  Tensor operator()(std::int64_t step) {
    auto generator = generator_of_step(options.train.seed, step);
    const bool crops =
        static_cast<double>(step) < options.crop_share * static_cast<double>(options.train.steps);
    const auto size = crops ? options.train.batch : options.full_batch;
    const auto indices = order.batch(step, size);
    auto pictures = data.batch(Split::kTrain, indices, kCompute);
    if (crops) pictures = random_crops(pictures, options.crop, generator);
    pictures = share.part(pictures);
    const auto target = pictures.to(torch::kFloat32);
    nn::LatentDistribution latents;
    {
      const at::AutoGradMode gradients(!options.decoder_only);
      latents = vae->encode(pictures);
    }
    auto own = generator_of_step(options.train.seed, step, /*purpose=*/1 + share.index);
    const auto noise = mos::randn(latents.mean.sizes(), own).to(kCompute);
    const auto sample = latents.mean + latents.std() * noise;
    const auto loss = reconstruction_loss(vae->decode(sample).to(torch::kFloat32), target);
    return options.decoder_only ? loss : loss + options.kl_weight * kl_divergence(latents);
  }
};

/// Originals above reconstructions.
Tensor sheet(nn::AutoencoderKL& vae, const Dataset& data) {
  constexpr std::int64_t kColumns = 8;
  const auto pictures = data.batch(Split::kHeldOut, torch::arange(kColumns), kCompute);
  const auto copies = from_network(vae->decode(vae->encode(pictures).mean));
  std::vector<Tensor> cells;
  const auto originals = data.pictures(Split::kHeldOut, torch::arange(kColumns));
  for (std::int64_t i = 0; i < kColumns; ++i) cells.push_back(originals[i]);
  for (std::int64_t i = 0; i < kColumns; ++i) cells.push_back(copies[i]);
  return io::make_grid(cells, kColumns, 2);
}

struct LatentStatistics {
  Tensor mean, deviation;  // [latent]
};

LatentStatistics latent_statistics(nn::AutoencoderKL& vae, const Dataset& data) {
  const auto count = std::min(kNormalisedOver, data.size(Split::kTrain));
  std::vector<Tensor> parts;
  for (std::int64_t i = 0; i < count; i += kEncodeBatch) {
    const auto indices = torch::arange(i, std::min(i + kEncodeBatch, count));
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

nn::AutoencoderKL finished_vae(const std::filesystem::path& folder) {
  nn::AutoencoderKL vae(nn::VaeConfig::from_json(read_json_file(folder / "config.json")));
  const auto path = folder / "model.safetensors";
  copy_weights(*vae, io::load_safetensors(path), path.string());
  return vae;
}

void write_finished(nn::AutoencoderKL& vae, const std::filesystem::path& folder,
                    const Json& config) {
  io::save_safetensors(folder / "model.safetensors", io::state_dict_of(*vae));
  write_text_file(folder / "config.json", config.dump(2) + "\n");
}

}  // namespace

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
  return 10.0 * torch::log10(4.0 / error.square().flatten(1).mean(1).clamp_min(1e-10));
}

void fold_normalisation(nn::AutoencoderKL& vae, const Tensor& mean, const Tensor& deviation) {
  const torch::NoGradGuard no_grad;
  auto weights = io::state_dict_of(*vae);
  const auto channels = vae->config().latent_channels;
  auto quant = weights.at("quant_conv.weight");  // [2·latent, 2·latent, 1, 1]
  auto quant_bias = weights.at("quant_conv.bias");
  quant.narrow(0, 0, channels).div_(deviation.view({channels, 1, 1, 1}));
  quant_bias.narrow(0, 0, channels).sub_(mean).div_(deviation);
  quant_bias.narrow(0, channels, channels).sub_(2.0 * deviation.log());
  auto post = weights.at("post_quant_conv.weight");  // [latent, latent, 1, 1]
  weights.at("post_quant_conv.bias").add_(post.flatten(1).mv(mean));
  post.mul_(deviation.view({1, channels, 1, 1}));
}

double held_out_psnr(nn::AutoencoderKL& vae, const Dataset& data, std::int64_t count) {
  const torch::NoGradGuard no_grad;
  std::vector<Tensor> parts;
  for (std::int64_t i = 0; i < count; i += kEncodeBatch) {
    const auto indices = torch::arange(i, std::min(i + kEncodeBatch, count));
    const auto pictures = data.batch(Split::kHeldOut, indices, kCompute);
    parts.push_back(psnr(vae->decode(vae->encode(pictures).mean), pictures));
  }
  return torch::cat(parts).mean().item<double>();
}

void train_vae(const std::filesystem::path& base, const VaeOptions& options,
               const ProgressCallback& progress, const CancelToken* cancel) {
  const Dataset data(base);
  const auto folder = base / (options.decoder_only ? "vae_decoder" : "vae");
  auto config = vae_config_json(options);
  nn::AutoencoderKL vae{nullptr};
  if (options.decoder_only) {
    config = read_json_file(base / "vae" / "config.json");
    vae = finished_vae(base / "vae");
  } else {
    vae = nn::AutoencoderKL(nn::VaeConfig::from_json(config));
    auto generator = seeded_generator(static_cast<std::uint64_t>(options.train.seed));
    initialise_network(*vae, generator);
  }
  FlatAdamW optimizer(
      *vae, {.weight_decay = options.train.weight_decay, .average = options.train.average},
      options.decoder_only ? is_decoding : std::function<bool(const std::string&)>());
  const VaeLoss loss{
      vae, data, options, EpochOrder(data.size(Split::kTrain), options.train.seed), {}};
  const auto replica = [&] {
    nn::AutoencoderKL copy(nn::VaeConfig::from_json(config));
    copy_weights(*copy, io::state_dict_of(*vae), "the first worker");  // also what is not trained
    optimizer.add_replica(*copy);
    return copy;
  };
  const auto measure = [&](std::int64_t step) {
    io::write_png(folder / fmt::format("sheet_{:06}.png", step), sheet(vae, data));
    const auto pictures = data.batch(Split::kHeldOut, torch::arange(kEncodeBatch), kCompute);
    const auto latents = vae->encode(pictures);
    return Json{{"psnr", held_out_psnr(vae, data, kMeasured)},
                {"latent_deviation", latents.mean.to(torch::kFloat32).std().item<double>()},
                {"posterior_sigma", latents.std().to(torch::kFloat32).mean().item<double>()}};
  };
  train(optimizer, {.stage = options.decoder_only ? "vae decoder" : "vae",
                    .folder = folder,
                    .options = options.train,
                    .losses = shared_losses(loss, &VaeLoss::vae, replica, options.train),
                    .measure = measure,
                    .progress = progress,
                    .cancel = cancel});
  const torch::NoGradGuard no_grad;
  const ScopedAverage averaged(optimizer);
  if (!options.decoder_only) {
    const auto statistics = latent_statistics(vae, data);
    fold_normalisation(vae, statistics.mean, statistics.deviation);
  }
  write_finished(vae, folder, config);
}

nn::AutoencoderKL load_vae(const std::filesystem::path& base) {
  auto vae = finished_vae(base / "vae");
  const auto decoder = base / "vae_decoder";
  if (checkpoint_step(decoder) > 0) {
    io::load_into(*vae, averaged_weights(decoder),
                  {.allow_missing = [](const std::string& name) { return !is_decoding(name); },
                   .origin = decoder.string()});
  }
  return vae;
}

}  // namespace mos::pretrain
