#include "mos/tune/preview.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

#include "mos/base/file.h"
#include "mos/base/maker.h"
#include "mos/base/record.h"
#include "mos/base/stopwatch.h"
#include "mos/base/text.h"
#include "mos/diffusion/denoise.h"
#include "mos/diffusion/scheduler.h"
#include "mos/io/image.h"
#include "mos/tune/captions.h"
#include "mos/tune/draws.h"
#include "mos/tune/trainer.h"

namespace mos::tune {

using torch::Tensor;

namespace {

constexpr std::int64_t kGridGap = 2;  // pixels

/// All updates of weights at another scale until the end of the scope.
class ScopedScale {
 public:
  ScopedScale(AttachedConcept& attached, double scale) : attached_(attached) {
    attached_.show(scale);
  }
  ~ScopedScale() { attached_.put_weights(); }
  ScopedScale(const ScopedScale&) = delete;
  ScopedScale& operator=(const ScopedScale&) = delete;

 private:
  AttachedConcept& attached_;
};

/// [pictures,C,h,w], the same for every prompt, scale and step of a run.
Tensor starting_noise(const diffusion::Model& base, const TuneOptions& options) {
  const auto size = canvas_size(base, options.pictures);
  std::vector<at::Generator> generators;
  for (std::int64_t i = 0; i < options.run.preview_pictures; ++i) {
    generators.push_back(
        generator_for(options.run.seed, Draw::kPreview, static_cast<std::uint64_t>(i)));
  }
  return diffusion::initial_noise(generators, diffusion::latent_shape(base, size, size));
}

/// Step and prompt in the name of a preview; zeros for another name.
std::pair<std::int64_t, std::size_t> numbers_of_preview(const std::string& name) {
  const auto dash = name.rfind('-');
  constexpr std::string_view kBegin = "step-", kEnd = ".png";
  if (!name.starts_with(kBegin) || !name.ends_with(kEnd) || dash < kBegin.size() ||
      dash + 1 > name.size() - kEnd.size()) {
    return {};
  }
  const std::string_view text = name;
  const auto step = number_in<std::int64_t>(text.substr(kBegin.size(), dash - kBegin.size()));
  const auto rest = text.substr(dash + 1);
  const auto prompt = number_in<std::size_t>(rest.substr(0, rest.size() - kEnd.size()));
  if (!step || !prompt || preview_path({}, *step, *prompt) != name) return {};
  return {*step, *prompt};
}

std::int64_t rows_at_a_time(const RunOptions& run) {
  return static_cast<std::int64_t>(run.preview_prompts.size() * run.preview_scales.size());
}

/// One row of a picture: a prompt with the concept as it is now.
class SampleRow {
 public:
  SampleRow(const diffusion::Model& base, const AttachedConcept& attached,
            const TuneOptions& options)
      : base_(base),
        attached_(attached),
        guidance_(options.run.preview_guidance),
        noise_(starting_noise(base, options)),
        scheduler_(diffusion::make_scheduler("dpm++", base.settings.scheduler_config)) {}

  Tensor denoise(const std::string& prompt, std::int64_t steps, const CancelToken* cancel) const {
    const diffusion::DenoiseInputs inputs{.unet = base_.unet,
                                          .scheduler = scheduler_.get(),
                                          .steps = steps,
                                          .noise = noise_,
                                          .cond = encode(prompt),
                                          .uncond = encode(""),
                                          .guidance_scale = guidance_};
    return diffusion::denoise(inputs, {}, cancel);
  }

 private:
  nn::Conditioning encode(const std::string& prompt) const {
    return attached_.encode(std::span(&prompt, 1));
  }

  const diffusion::Model& base_;
  const AttachedConcept& attached_;
  double guidance_;
  Tensor noise_;
  std::unique_ptr<diffusion::Scheduler> scheduler_;
};

}  // namespace

std::filesystem::path preview_path(const std::filesystem::path& folder, std::int64_t step,
                                   std::size_t prompt) {
  return folder / fmt::format("step-{:06}-{}.png", step, prompt);
}

std::vector<std::filesystem::path> preview_paths(const std::filesystem::path& folder,
                                                 const TuneOptions& options) {
  const auto& run = options.run;
  const auto last = options.optimiser.steps, every = run.preview_every;
  if (run.preview_pictures == 0 || run.preview_scales.empty() || run.preview_prompts.empty()) {
    return {};
  }
  std::vector<std::filesystem::path> paths = {
      preview_path(folder, every > 0 ? std::min(every, last) : last, 1)};
  std::error_code code;  // a run of many steps has many names: what is there is looked at instead
  for (std::filesystem::directory_iterator entry(folder, code), end; !code && entry != end;
       entry.increment(code)) {
    const auto [step, prompt] = numbers_of_preview(entry->path().filename().string());
    const bool is_due = step == last || (every > 0 && step > 0 && step < last && step % every == 0);
    if (is_due && prompt >= 1 && prompt <= run.preview_prompts.size()) {
      paths.push_back(entry->path());
    }
  }
  std::sort(paths.begin(), paths.end());
  paths.erase(std::unique(paths.begin(), paths.end()), paths.end());
  return paths;
}

void write_previews(const std::filesystem::path& folder, std::int64_t step,
                    const diffusion::Model& base, AttachedConcept& attached,
                    const TuneOptions& options, const PreviewHooks& hooks) {
  const auto& run = options.run;
  if (run.preview_pictures == 0 || run.preview_scales.empty()) return;
  torch::NoGradGuard no_grad;
  make_folders(folder);
  const SampleRow row(base, attached, options);
  const Stopwatch watch;
  std::int64_t rows = 0;
  const auto all = rows_at_a_time(run);
  for (std::size_t p = 0; p < run.preview_prompts.size(); ++p) {
    const auto prompt = fill_placeholder(run.preview_prompts[p], concept_phrase(options.words));
    std::vector<Tensor> cells;
    for (const auto scale : run.preview_scales) {
      const ScopedScale scaled(attached, scale);
      const auto latents = row.denoise(prompt, run.preview_steps, hooks.cancel);
      const auto pictures = diffusion::decode_latents(base.vae, latents);
      for (std::int64_t i = 0; i < pictures.size(0); ++i) cells.push_back(pictures[i]);
      if (!hooks.progress) continue;
      hooks.progress(
          {.stage = "painting samples", .step = ++rows, .total = all, .seconds = watch.seconds()});
    }
    const auto path = preview_path(folder, step, p + 1);
    io::write_png(path, io::make_grid(cells, run.preview_pictures, kGridGap),
                  {{"prompt", prompt},
                   {"step", std::to_string(step)},
                   {kProgramKey, maker_record("mos tune")},
                   {"lora_scales", fmt::format("{}", fmt::join(run.preview_scales, ", "))}});
    if (hooks.painted) hooks.painted(path);
  }
}

std::int64_t preview_rows(const TuneOptions& options) {
  const auto& run = options.run;
  if (run.preview_pictures == 0) return 0;
  const auto steps = options.optimiser.steps;
  const auto every = run.preview_every > 0 ? run.preview_every : steps;
  const auto times = steps / every + (steps % every == 0 ? 0 : 1);  // at the end in any case
  return times * rows_at_a_time(run);
}

double trial_of_previews(const diffusion::Model& base, const AttachedConcept& attached,
                         const TuneOptions& options) {
  const auto rows = preview_rows(options);
  if (rows == 0) return 0.0;
  torch::NoGradGuard no_grad;
  constexpr std::int64_t kTrialSteps = 2;
  const auto& run = options.run;
  const auto steps = std::min(kTrialSteps, run.preview_steps);
  const auto prompt = fill_placeholder(run.preview_prompts[0], concept_phrase(options.words));
  Stopwatch watch;
  const auto latents = SampleRow(base, attached, options).denoise(prompt, steps, nullptr);
  const double step = watch.lap() / static_cast<double>(steps);
  diffusion::decode_latents(base.vae, latents);
  const double row = step * static_cast<double>(run.preview_steps) + watch.lap();
  return row * static_cast<double>(rows);
}

}  // namespace mos::tune
