#include "mos/pretrain/unet_loss.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "mos/base/error.h"
#include "mos/base/random.h"
#include "mos/pretrain/compute.h"
#include "mos/pretrain/tower_training.h"
#include "mos/pretrain/vae_training.h"

namespace mos::pretrain {

using torch::Tensor;
using world::Split;

namespace {

constexpr std::int64_t kMeasureBatch = 32;
constexpr std::int64_t kSquarePictures = 192, kOtherPictures = 32;  // of the validation loss
constexpr std::int64_t kMeasureSeed = 99;
constexpr std::int64_t kCanvasPurpose = 3, kPicturePurpose = 4;  // streams of random numbers

/// Makes the first of `steps`, those of each canvas, the share `squares` of all.
void share_out(double squares, std::vector<double>& steps) {
  const double others = std::accumulate(steps.begin() + 1, steps.end(), 0.0);
  if ((squares > 0.0 && steps.front() == 0.0) || (squares < 1.0 && others == 0.0)) {
    throw Error(ErrorKind::kUsage,
                fmt::format("\"squares\" is {}, but {} picture is square; leave it out", squares,
                            others == 0.0 ? "every" : "no"));
  }
  steps.front() = squares;
  for (auto step = steps.begin() + 1; step != steps.end(); ++step) {
    *step *= others == 0.0 ? 0.0 : (1.0 - squares) / others;
  }
}

}  // namespace

GuidedUNet::GuidedUNet(const Json& unet_config, const Json& text_config)
    : unet(nn::UNetConfig::from_json(unet_config)) {
  tower.encoder = nn::CLIPTextModel(nn::ClipTextConfig::from_json(text_config));
  register_module(std::string(folder_of(checkpoint::Part::kUNet)), unet);
  register_module(std::string(folder_of(tower.part)), tower.encoder);
  nn::use_engine(*this, nn::Engine::kFused);
}

void GuidedUNet::align_with(std::int64_t tower_width) {
  alignment = register_module("alignment", Alignment(unet, tower_width));
}

CanvasPlan::CanvasPlan(const LatentStore& latents, std::int64_t batch, std::int64_t multiple,
                       std::optional<double> squares) {
  const auto area = [&latents](std::size_t canvas) {
    return static_cast<double>(latents.height(canvas) * latents.width(canvas));
  };
  std::vector<double> steps;
  for (std::size_t canvas = 0; canvas < latents.canvases(); ++canvas) {
    const bool empty = latents.size(canvas) == 0;
    // As many latent positions in each batch, so that steps of large canvases take no more memory.
    const double share = empty ? 1.0 : area(0) / area(canvas);
    const double wanted = static_cast<double>(batch) * share / static_cast<double>(multiple);
    pictures_.push_back(multiple * std::max<std::int64_t>(1, std::llround(wanted)));
    // As often as it takes to see each picture of every canvas equally often.
    steps.push_back(static_cast<double>(latents.size(canvas)) /
                    static_cast<double>(pictures_.back()));
  }
  if (squares) share_out(*squares, steps);
  chance_.resize(steps.size());
  std::partial_sum(steps.begin(), steps.end(), chance_.begin());
  for (auto& chance : chance_) chance /= chance_.back();
}

std::size_t CanvasPlan::canvas(std::int64_t seed, std::int64_t step) const {
  auto generator = generator_of_step(seed, step, kCanvasPurpose);
  const double drawn =
      torch::rand({1}, generator, torch::TensorOptions(torch::kFloat64)).item<double>();
  // Without the last, which is 1 but for rounding.
  const auto found = std::upper_bound(chance_.begin(), chance_.end() - 1, drawn);
  return static_cast<std::size_t>(found - chance_.begin());
}

Tensor denoising_errors(GuidedUNet& networks, const UNetTask& task, const NoisyBatch& batch,
                        const Tensor& ids) {
  const auto text = networks.tower.encode(ids).to(kCompute);
  const auto output = networks.unet->forward(batch.noisy.to(task.device, kCompute),
                                             batch.timesteps.to(task.device), text);
  const auto target = batch.target.to(task.device);
  return (output.to(torch::kFloat32) - target).square().flatten(1).mean(1);
}

UNetLoss::Shown UNetLoss::show(std::int64_t step) const {
  const auto& options = task.options;
  const auto seed = options.train.seed;
  const auto canvas = task.plan.canvas(seed, step);
  const auto count = task.plan.pictures(canvas) / options.noises;
  auto chooser = generator_of_step(seed, step, kPicturePurpose);
  const auto indices = task.pictures.indices(canvas, count, chooser);
  // All workers draw the captions of the whole batch and keep their own: results do not depend on
  // how many there are.
  const auto captions = draw_captions(task.data, indices, seed, step,
                                      {.empty = options.empty_captions, .canvas = canvas});
  const auto first = captions.begin() + share.begin(count);
  const auto mine = share.part(indices);
  auto timesteps = generator_of_step(seed, step);  // one for all workers, the noise one for each
  const auto t = stratified_timesteps(count * options.noises, task.schedule.size(), timesteps,
                                      timestep_draw(options.timesteps));
  // The towers look at squares.
  const bool aligns = options.align > 0.0 && canvas == 0;
  return {.canvas = canvas,
          .indices = mine,
          .ids = token_ids(task.tokenizer, {first, first + mine.size(0)}, /*full=*/true),
          .timesteps = share.part(t),
          .pictures = aligns ? task.data.pictures(Split::kTrain, mine) : Tensor()};
}

Tensor UNetLoss::operator()(std::int64_t step) {
  const auto& options = task.options;
  const auto shown = ahead ? ahead->take(step) : show(step);
  const auto latents = task.latents.batch(shown.indices, shown.canvas);
  auto own = generator_of_step(options.train.seed, step, /*purpose=*/10 + share.index);
  const auto batch =
      add_noise(task.schedule, latents.repeat_interleave(options.noises, 0), shown.timesteps, own);
  const auto errors = denoising_errors(*networks, task, batch, shown.ids);
  const auto loss = (errors * task.weights.index_select(0, batch.timesteps).to(task.device)).mean();
  if (!shown.pictures.defined()) return loss;
  auto towers = task.towers;
  const auto patches = tower_patches(towers, to_network(shown.pictures.to(task.device), kCompute));
  return loss +
         options.align * networks->alignment->loss(patches.repeat_interleave(options.noises, 0));
}

HeldOutPictures::HeldOutPictures(const std::filesystem::path& base, const UNetTask& task)
    : task_(task) {
  const torch::NoGradGuard no_grad;
  auto vae = load_vae(base);
  vae->to(task.device);
  const double scale = vae->config().scaling_factor;
  for (std::size_t canvas = 0; canvas < task.data.canvases(); ++canvas) {
    const auto wanted = canvas == 0 ? kSquarePictures : kOtherPictures;
    const auto total = std::min(wanted, task.data.size(Split::kHeldOut, canvas));
    for (std::int64_t i = 0; i < total; i += kMeasureBatch) {
      const auto end = std::min(i + kMeasureBatch, total);
      const auto pictures =
          task.data.batch(Split::kHeldOut, torch::arange(i, end), kCompute, canvas);
      const auto latents = vae->encode(pictures.to(task.device)).mean * scale;
      const auto clean = latents.to(torch::kCPU, torch::kFloat32);
      auto generator = generator_of_step(kMeasureSeed, i, static_cast<std::int64_t>(canvas));
      auto& batch = batches_.emplace_back();
      batch.pictures = add_noise(task.schedule, clean, generator, TimestepDraw::kUniform);
      batch.canvas = canvas;
      std::vector<std::string> captions;
      for (auto j = i; j < end; ++j) {
        captions.push_back(task.data.caption(Split::kHeldOut, j, canvas));
      }
      batch.ids = token_ids(task.tokenizer, captions, /*full=*/true);
    }
  }
}

Json HeldOutPictures::measure(GuidedUNet& networks) const {
  const torch::NoGradGuard no_grad;
  std::vector<Tensor> square, timesteps, others;
  for (const auto& batch : batches_) {
    const auto errors =
        denoising_errors(networks, task_, batch.pictures, batch.ids).to(torch::kCPU);
    (batch.canvas == 0 ? square : others).push_back(errors);
    if (batch.canvas == 0) timesteps.push_back(batch.pictures.timesteps);
  }
  const auto errors = torch::cat(square), t = torch::cat(timesteps);
  Json figures = {{"held_out_loss", errors.mean().item<double>()}};
  constexpr std::array kThirds = {"held_out_low", "held_out_middle", "held_out_high"};
  for (std::int64_t third = 0; third < 3; ++third) {
    // The mean hides which noise levels improve: low ones are about edges, high ones about layout.
    const auto inside = t.mul(3).floor_divide(task_.schedule.size()) == third;
    figures[kThirds[static_cast<std::size_t>(third)]] =
        errors.masked_select(inside).mean().item<double>();
  }
  if (!others.empty())
    figures["held_out_other_canvases"] = torch::cat(others).mean().item<double>();
  return figures;
}

}  // namespace mos::pretrain
