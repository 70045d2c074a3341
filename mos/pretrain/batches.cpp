#include "mos/pretrain/batches.h"

#include <fmt/core.h>

#include "mos/base/error.h"
#include "mos/base/random.h"
#include "mos/train/draws.h"

namespace mos::pretrain {

using torch::Tensor;
using world::Split;

namespace {

NoisyBatch noisy_batch(const diffusion::NoiseSchedule& schedule, const Tensor& clean,
                       const Tensor& eps, const Tensor& t) {
  return {.noisy = schedule.add_noise(clean, eps, t),
          .timesteps = t,
          .target = schedule.target(clean, eps, t)};
}

/// `count` of `from` int64 [N], with repetitions; draws nothing for 0.
Tensor some_of(const Tensor& from, std::int64_t count, at::Generator& generator) {
  if (count == 0) return torch::empty({0}, torch::kInt64);
  return from.index_select(0, randint(0, from.size(0), {count}, generator));
}

}  // namespace

Tensor stratified_timesteps(std::int64_t count, std::int64_t timesteps, at::Generator& generator,
                            TimestepDraw draw) {
  auto share = train::stratified(count, generator);
  // Inverses of the distributions, so the parts stay equally likely.
  if (draw == TimestepDraw::kCubic) share = 1.0 - share.pow(3);
  if (draw == TimestepDraw::kLogitNormal) share = torch::special_ndtri(share).sigmoid();
  const auto drawn = (share * static_cast<double>(timesteps)).to(torch::kInt64);
  // The parts rise; pictures, and the workers that share a batch, must not always get the same one.
  const auto order = torch::randperm(count, generator, torch::kInt64);
  return drawn.clamp_max(timesteps - 1).index_select(0, order);
}

TimestepDraw timestep_draw(const std::string& name) {
  if (name == "uniform") return TimestepDraw::kUniform;
  if (name == "cubic") return TimestepDraw::kCubic;
  if (name == "logit_normal") return TimestepDraw::kLogitNormal;
  throw Error(
      ErrorKind::kUsage,
      fmt::format("timesteps are drawn \"{}\", expected uniform, cubic or logit_normal", name));
}

NoisyBatch add_noise(const diffusion::NoiseSchedule& schedule, const Tensor& clean, const Tensor& t,
                     at::Generator& generator) {
  const auto eps = randn_on(clean.device(), clean.sizes(), generator);
  return noisy_batch(schedule, clean, eps, t);
}

NoisyBatch add_noise(const diffusion::NoiseSchedule& schedule, const Tensor& clean,
                     at::Generator& generator, TimestepDraw draw) {
  const auto eps = randn_on(clean.device(), clean.sizes(), generator);
  const auto t = stratified_timesteps(clean.size(0), schedule.size(), generator, draw);
  return noisy_batch(schedule, clean, eps, t);
}

PictureDraw::PictureDraw(const Dataset& data, std::optional<double> several)
    : data_(data), several_(several) {
  if (several) sort_squares(*several);
}

void PictureDraw::sort_squares(double several) {
  std::vector<std::int64_t> with_several, others;
  for (std::int64_t i = 0; i < data_.size(Split::kTrain); ++i) {
    const auto subjects = data_.layout(Split::kTrain, i).caption.subjects.size();
    (subjects > 1 ? with_several : others).push_back(i);
  }
  if ((several > 0.0 && with_several.empty()) || (several < 1.0 && others.empty())) {
    throw Error(ErrorKind::kUsage,
                fmt::format("\"several\" is {}, but of the square pictures {} have two or more "
                            "subjects and {} have fewer; leave it out",
                            several, with_several.size(), others.size()));
  }
  with_several_ = torch::tensor(with_several, torch::kInt64);
  others_ = torch::tensor(others, torch::kInt64);
}

Tensor PictureDraw::indices(std::size_t canvas, std::int64_t count,
                            at::Generator& generator) const {
  if (canvas != 0 || !several_) {
    return randint(0, data_.size(Split::kTrain, canvas), {count}, generator);
  }
  // Rounded by lot: the share holds in the mean of steps, and varies by less than one picture.
  const auto many =
      static_cast<std::int64_t>(*several_ * static_cast<double>(count) + uniform(generator));
  return torch::cat(
      {some_of(with_several_, many, generator), some_of(others_, count - many, generator)});
}

std::vector<std::string> draw_captions(const Dataset& data, const Tensor& indices,
                                       std::int64_t seed, std::int64_t step,
                                       const CaptionDraw& draw) {
  world::Rng rng(static_cast<std::uint64_t>(seed), Split::kTrain, static_cast<std::uint64_t>(step));
  std::vector<std::string> captions;
  for (std::int64_t i = 0; i < indices.size(0); ++i) {
    auto spec = data.layout(Split::kTrain, indices[i].item<std::int64_t>(), draw.canvas).caption;
    // Other words for the same picture in each epoch: captions are drawn, not stored.
    world::choose_words(data.world(), spec, rng);
    const bool empty = rng.chance(draw.empty);
    captions.push_back(empty ? "" : world::caption_text(data.world(), spec));
  }
  return captions;
}

}  // namespace mos::pretrain
