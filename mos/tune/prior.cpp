#include "mos/tune/prior.h"

#include <fmt/core.h>

#include <algorithm>
#include <limits>
#include <span>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/base/json.h"
#include "mos/base/log.h"
#include "mos/base/sha256.h"
#include "mos/concepts/prompt_encoder.h"
#include "mos/diffusion/denoise.h"
#include "mos/diffusion/scheduler.h"
#include "mos/io/image.h"
#include "mos/nn/compute.h"
#include "mos/tune/draws.h"
#include "mos/tune/picture_stream.h"

namespace mos::tune {

namespace fs = std::filesystem;
using torch::Tensor;

namespace {

/// Painted at a time, whatever is missing: the last bits of a picture can depend on its neighbours.
constexpr std::int64_t kTogether = 4;

/// All that the pictures depend on, apart from how many there are.
Json record_of(const diffusion::Model& base, const TuneOptions& options) {
  return {{"kind", "pictures of a class, painted by the base model for mos tune --prior"},
          {"base_model", diffusion::model_hash(base)},
          {"scheduler", base.settings.scheduler_config},
          {"prompt", prior_prompt(options)},
          {"size", canvas_size(base, options.pictures)},
          {"steps", options.prior.steps},
          {"guidance", options.prior.guidance},
          {"dtype", nn::name_of(base.dtype())},
          {"device", base.device().str()}};
}

fs::path picture_path(const fs::path& place, std::int64_t number) {
  return place / fmt::format("{:04}.png", number);
}

/// uint8 [kTogether,H,W,3], the pictures from `first` on.
Tensor paint_together(const diffusion::Model& base, const TuneOptions& options, std::int64_t first,
                      const CancelToken* cancel) {
  torch::NoGradGuard no_grad;
  const auto size = canvas_size(base, options.pictures);
  std::vector<at::Generator> generators;
  for (auto i = first; i < first + kTogether; ++i) {
    generators.push_back(generator_for(0, Draw::kPrior, static_cast<std::uint64_t>(i)));
  }
  const auto noise =
      diffusion::initial_noise(generators, diffusion::latent_shape(base, size, size));
  const auto scheduler = diffusion::make_scheduler("dpm++", base.settings.scheduler_config);
  const concepts::ConceptTokens no_words(base.unet->text_slices().count);
  const auto encode = [&](const std::string& prompt) {
    return concepts::encode_prompts(no_words, base.towers, std::span(&prompt, 1));
  };
  const diffusion::DenoiseInputs inputs{.unet = base.unet,
                                        .scheduler = scheduler.get(),
                                        .steps = options.prior.steps,
                                        .noise = noise,
                                        .cond = encode(prior_prompt(options)),
                                        .uncond = encode(""),
                                        .guidance_scale = options.prior.guidance};
  return diffusion::decode_latents(base.vae, diffusion::denoise(inputs, {}, cancel));
}

class Prior {
 public:
  Prior(const diffusion::Model& base, const TuneOptions& options, const PriorHooks& hooks)
      : base_(base), options_(options), hooks_(hooks) {
    if (!hooks.folder.empty()) place_ = prior_place(hooks.folder, base, options);
  }

  std::vector<TrainingPicture> get() {
    const auto count = options_.prior.pictures;
    pictures_.resize(static_cast<std::size_t>(count));
    std::int64_t there = 0;
    for (std::int64_t i = 0; i < count; ++i) there += read(i) ? 1 : 0;
    tell(there);
    if (there < count) keep_record();
    for (std::int64_t first = 0; first < count; first += kTogether) {
      if (lacks_any(first)) paint(first);
    }
    return as_training_pictures();
  }

 private:
  bool is_kept() const { return !place_.empty(); }
  std::int64_t end_of(std::int64_t first) const {
    return std::min(first + kTogether, options_.prior.pictures);
  }
  Tensor& picture(std::int64_t number) { return pictures_[static_cast<std::size_t>(number)]; }

  bool read(std::int64_t number) {
    const auto path = picture_path(place_, number);
    if (!is_kept() || !fs::exists(path)) return false;
    picture(number) = io::to_rgb(io::read_image(path).pixels);
    const auto size = canvas_size(base_, options_.pictures);
    if (picture(number).size(0) == size && picture(number).size(1) == size) return true;
    throw Error(
        ErrorKind::kFormat,
        fmt::format("the class picture {} is {}x{} pixels, expected {}x{}; remove it, and "
                    "it is painted again",
                    path.string(), picture(number).size(1), picture(number).size(0), size, size));
  }

  void tell(std::int64_t there) const {
    const auto count = options_.prior.pictures;
    const auto of = fmt::format("{} pictures of \"{}\"", count, prior_prompt(options_));
    const auto where = is_kept() ? place_.string() : std::string("no folder");
    log::info(there == count
                  ? fmt::format("the prior: {} in {}", of, where)
                  : fmt::format("the prior: painting {} of {} into {}", count - there, of, where));
  }

  void keep_record() const {
    if (!is_kept()) return;
    make_folders(place_);
    write_text_file(place_ / kPriorRecord, record_of(base_, options_).dump(2) + "\n");
  }

  bool lacks_any(std::int64_t first) {
    for (auto i = first; i < end_of(first); ++i) {
      if (!picture(i).defined()) return true;
    }
    return false;
  }

  void paint(std::int64_t first) {
    const auto painted = paint_together(base_, options_, first, hooks_.cancel);
    for (auto i = first; i < end_of(first); ++i) {
      if (picture(i).defined()) continue;
      picture(i) = painted[i - first].clone();
      if (is_kept()) io::write_png(picture_path(place_, i), picture(i));
    }
    if (!hooks_.progress) return;
    hooks_.progress({.stage = "painting the prior",
                     .step = end_of(first),
                     .total = options_.prior.pictures,
                     .loss = std::numeric_limits<double>::quiet_NaN()});
  }

  std::vector<TrainingPicture> as_training_pictures() const {
    std::vector<TrainingPicture> result;
    for (std::size_t i = 0; i < pictures_.size(); ++i) {
      result.push_back({.name = fmt::format("prior {}", i),
                        .pixels = pictures_[i],
                        .caption = {.text = prior_prompt(options_), .from_file = true}});
    }
    return result;
  }

  const diffusion::Model& base_;
  const TuneOptions& options_;
  const PriorHooks& hooks_;
  fs::path place_;
  std::vector<Tensor> pictures_;  ///< uint8 [H,W,3]; undefined while it is missing.
};

}  // namespace

std::string prior_prompt(const TuneOptions& options) {
  if (!options.prior.prompt.empty()) return options.prior.prompt;
  if (!options.words.class_word.empty()) return "a photo of a " + options.words.class_word;
  throw Error(ErrorKind::kUsage,
              "class pictures need to know what the concept is one of; name it with --class-word "
              "or in concept.json, say what to paint with --prior-prompt, or do without them by "
              "--prior 0");
}

fs::path prior_place(const fs::path& folder, const diffusion::Model& base,
                     const TuneOptions& options) {
  constexpr std::size_t kDigits = 12;
  return folder / sha256_of(record_of(base, options).dump()).substr(0, kDigits);
}

std::vector<TrainingPicture> prior_pictures(const diffusion::Model& base,
                                            const TuneOptions& options, const PriorHooks& hooks) {
  return Prior(base, options, hooks).get();
}

std::vector<TrainingPicture> blank_prior(const diffusion::Model& base, const TuneOptions& options) {
  const auto size = canvas_size(base, options.pictures);
  const TrainingPicture blank{.name = "blank",
                              .pixels = torch::full({size, size, 3}, 128, torch::kUInt8),
                              .caption = {.text = prior_prompt(options), .from_file = true}};
  return std::vector<TrainingPicture>(static_cast<std::size_t>(options.prior.pictures), blank);
}

}  // namespace mos::tune
