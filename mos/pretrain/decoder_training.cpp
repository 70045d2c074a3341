#include "mos/pretrain/decoder_training.h"

#include <fmt/core.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <memory>

#include "mos/base/device.h"
#include "mos/base/random.h"
#include "mos/io/image.h"
#include "mos/nn/ops.h"
#include "mos/pretrain/compute.h"
#include "mos/pretrain/data.h"
#include "mos/pretrain/fidelity.h"
#include "mos/pretrain/initialise.h"
#include "mos/pretrain/tower_training.h"
#include "mos/pretrain/vae_training.h"

namespace mos::pretrain {

using torch::Tensor;
using world::Split;

namespace {

constexpr double kSlope = 0.2;  // of the discriminator's leaky units
constexpr std::int64_t kNormGroups = 8;
constexpr std::int64_t kMeasuredByDecoder = 64;  // held-out pictures for a figure of the log
constexpr double kMeasuredNoise = 0.15;          // about what a sampler leaves
constexpr double kMostAdversarial = 1e3;         // bound on the factor of the adversarial gradient

nn::Conv2d strided(std::int64_t in, std::int64_t out) {
  return nn::Conv2d(nn::Conv2dOptions{
      .in_channels = in, .out_channels = out, .kernel_size = 4, .stride = 2, .padding = 1});
}

Tensor leaky(const Tensor& x) { return torch::leaky_relu(x, kSlope); }

/// The image tower's view of pictures, relative to `reference`'s.
Tensor feature_error(nn::CLIPModel& towers, const Tensor& pictures, const Tensor& reference) {
  const auto features = [&towers](const Tensor& x) {
    const auto seen = tower_pictures(x, towers).to(kCompute);
    return towers->vision(seen).last_hidden_state.to(torch::kFloat32);
  };
  const auto wanted = features(reference).detach();
  return (features(pictures) - wanted).square().mean() / wanted.square().mean();
}

/// One worker's part of a step: the decoder's loss, and the discriminator's gradients left behind.
struct DecoderLoss {
  nn::AutoencoderKL vae;
  Discriminator discriminator;
  nn::CLIPModel towers;
  const Dataset& data;
  const DecoderOptions& options;
  EpochOrder order;
  Share share;
  std::shared_ptr<Ahead<Tensor>> ahead = nullptr;  // empty on a CPU

  /// Pictures uint8 [B,H,W,3] of a step.
  Tensor show(std::int64_t step) {
    return data.pictures(Split::kTrain, share.part(order.batch(step, options.train.batch)));
  }

  /// Latents of pictures with noise, up to options.noise for each.
  Tensor noisy_latents(const Tensor& pictures, at::Generator& generator) {
    const torch::NoGradGuard no_grad;
    const auto latents = vae->encode(pictures).mean;
    const auto noise = randn_on(latents.device(), latents.sizes(), generator).to(kCompute);
    const auto level =
        torch::rand({latents.size(0), 1, 1, 1}, generator, torch::TensorOptions(torch::kFloat32)) *
        options.noise;
    return latents + noise * level.to(latents.device(), kCompute);
  }

  /// Hinge loss (arXiv 1705.02894), its gradients added to the discriminator's.
  void teach_discriminator(const Tensor& drawn, const Tensor& decoded) {
    const auto right = torch::relu(1.0 - discriminator(drawn).to(torch::kFloat32)).mean();
    const auto wrong = torch::relu(1.0 + discriminator(decoded).to(torch::kFloat32)).mean();
    ((right + wrong) / static_cast<double>(share.of)).backward();
  }

  /// d/dpictures of the discriminator's opinion, as long as `like` times options.adversarial.
  Tensor adversarial_gradient(const Tensor& pictures, const Tensor& like) {
    const auto opinion = -discriminator(pictures.to(kCompute)).to(torch::kFloat32).mean();
    const auto gradient = torch::autograd::grad({opinion}, {pictures})[0];
    const auto factor = options.adversarial * like.norm() / (gradient.norm() + 1e-12);
    return gradient * factor.clamp_max(kMostAdversarial);
  }

  Tensor operator()(std::int64_t step) {
    auto own = generator_of_step(options.train.seed, step, /*purpose=*/1 + share.index);
    const auto shown = ahead ? ahead->take(step) : show(step);
    const auto drawn = to_network(shown.to(device_of(*vae)), kCompute);
    const auto target = drawn.to(torch::kFloat32);
    const auto decoded = vae->decode(noisy_latents(drawn, own)).to(torch::kFloat32);
    teach_discriminator(drawn, decoded.detach().to(kCompute));

    const auto pictures = decoded.detach().requires_grad_(true);
    const auto loss = reconstruction_loss(pictures, target) +
                      options.features * feature_error(towers, pictures, target);
    auto gradient = torch::autograd::grad({loss}, {pictures})[0];
    if (step >= options.alone) gradient = gradient + adversarial_gradient(pictures, gradient);
    const auto pull = (decoded * gradient).sum();  // has this gradient
    return loss.detach() + pull - pull.detach();
  }
};

/// PSNR of exact and of noisy latents, and the Laplacian energy over the originals'.
Json measure_decoder(nn::AutoencoderKL& vae, const Dataset& data) {
  std::vector<Tensor> exact, noisy, copies, originals;
  auto generator = seeded_generator(7);
  constexpr std::int64_t kBatch = 16;
  for (std::int64_t i = 0; i < kMeasuredByDecoder; i += kBatch) {
    const auto indices = torch::arange(i, i + kBatch);
    const auto pictures = data.batch(Split::kHeldOut, indices, kCompute).to(device_of(*vae));
    const auto latents = vae->encode(pictures).mean;
    const auto noise =
        mos::randn(latents.sizes(), generator).to(latents.device(), kCompute) * kMeasuredNoise;
    exact.push_back(psnr(vae->decode(latents), pictures));
    const auto decoded = vae->decode(latents + noise);
    noisy.push_back(psnr(decoded, pictures));
    copies.push_back(from_network(decoded.to(torch::kCPU)));
    originals.push_back(data.pictures(Split::kHeldOut, indices));
  }
  return {{"psnr", torch::cat(exact).mean().item<double>()},
          {"psnr_noisy", torch::cat(noisy).mean().item<double>()},
          {"sharpness",
           laplacian_energy(torch::cat(copies)) / laplacian_energy(torch::cat(originals))}};
}

}  // namespace

DiscriminatorImpl::DiscriminatorImpl(std::int64_t width) {
  first_ = register_module("first", strided(3, width));
  second_ = register_module("second", strided(width, 2 * width));
  second_norm_ = register_module("second_norm", nn::GroupNorm(kNormGroups, 2 * width, 1e-5));
  third_ = register_module(
      "third", nn::Conv2d(nn::Conv2dOptions{.in_channels = 2 * width, .out_channels = 4 * width}));
  third_norm_ = register_module("third_norm", nn::GroupNorm(kNormGroups, 4 * width, 1e-5));
  last_ = register_module(
      "last", nn::Conv2d(nn::Conv2dOptions{.in_channels = 4 * width, .out_channels = 1}));
}

Tensor DiscriminatorImpl::forward(const Tensor& pictures) {
  auto x = leaky(first_(pictures));
  x = leaky(second_norm_(second_(x)));
  x = leaky(third_norm_(third_(x)));
  return last_(x);
}

bool is_decoding(const std::string& name) {
  return name.starts_with("decoder.") || name.starts_with("post_quant_conv.");
}

void train_decoder(const std::filesystem::path& base, const DecoderOptions& options,
                   const ProgressCallback& progress, const CancelToken* cancel) {
  const Dataset data(base);
  const auto folder = base / "vae_decoder";
  const auto device = device_named(options.device);
  const auto train_options = on_device(options.train, device);
  auto towers = load_towers(base);
  towers->to(device, kCompute);
  for (auto& parameter : towers->parameters()) parameter.set_requires_grad(false);
  const auto make_vae = [&] {
    auto vae = finished_vae(base);
    vae->to(device, kCompute);
    nn::use_engine(*vae, nn::Engine::kFused);
    return vae;
  };
  const auto make_discriminator = [&] {
    Discriminator discriminator(options.width);
    auto generator = seeded_generator(static_cast<std::uint64_t>(options.train.seed));
    initialise_network(*discriminator, generator);
    discriminator->to(device);
    nn::use_engine(*discriminator, nn::Engine::kFused);
    return discriminator;
  };
  auto vae = finished_vae(base);  // its float32 values are what the optimiser starts from
  vae->to(device);
  nn::use_engine(*vae, nn::Engine::kFused);
  const FlatAdamWOptions adam{.weight_decay = options.train.weight_decay,
                              .average = options.train.average,
                              .working_dtype = kCompute};
  FlatAdamW optimizer(*vae, adam, is_decoding);
  for (auto& parameter : vae->named_parameters()) {
    if (!is_decoding(parameter.key())) parameter.value().set_data(parameter.value().to(kCompute));
  }
  auto discriminator = make_discriminator();
  auto judging = adam;
  judging.beta1 = 0.5;  // as adversarial trainings have it
  FlatAdamW companion(*discriminator, judging);
  std::vector<std::function<Tensor(std::int64_t)>> losses;
  const auto workers = worker_count(train_options);
  for (std::int64_t i = 0; i < workers; ++i) {
    DecoderLoss loss{vae,         discriminator,
                     towers,      data,
                     options,     EpochOrder(data.size(Split::kTrain), options.train.seed),
                     {i, workers}};
    loss.ahead = made_ahead(loss, &DecoderLoss::show, device);
    if (i > 0) {
      optimizer.add_replica(*(loss.vae = make_vae()));
      companion.add_replica(*(loss.discriminator = make_discriminator()));
    }
    losses.emplace_back(std::move(loss));
  }
  const auto measure = [&](std::int64_t step) {
    io::write_png(folder / fmt::format("sheet_{:06}.png", step), reconstruction_sheet(vae, data));
    return measure_decoder(vae, data);
  };
  run_training(optimizer, {.stage = "vae decoder",
                           .folder = folder,
                           .options = train_options,
                           .losses = losses,
                           .measure = measure,
                           .progress = progress,
                           .cancel = cancel,
                           .companion = &companion});
}

}  // namespace mos::pretrain
