#include "mos/session/paint.h"

#include <ATen/Parallel.h>
#include <torch/version.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "mos/base/version.h"
#include "mos/concepts/prompt_encoder.h"
#include "mos/nn/compute.h"
#include "mos/region/scene_text.h"
#include "mos/session/composition.h"

namespace mos::session {

namespace {

/// Whether some prompt has weights, BREAK or more than one chunk.
bool has_syntax(const Session& session, const region::Scene& scene) {
  const auto prompts = region::encoded_prompts_of(scene);
  return std::any_of(prompts.begin(), prompts.end(), [&](const std::string& prompt) {
    return concepts::has_syntax(session.tokens, session.model.tokenizer(), prompt);
  });
}

/// Puts the regions that its first steps show into `record`, which then needs no search.
void find_regions(Session& session, PictureRecord& record, const region::PaintInputs& inputs,
                  const CancelToken* cancel) {
  {
    Composition composition(session, record.scene, record.options);
    record.scene.regions =
        region::find_regions(session.model, session.tokens, record.scene, record.options,
                             composition.of_scene(inputs), cancel);
  }
  record.options.sampler.auto_regions = false;
  // Regions have their subjects now; phrases are still named.
  if (record.options.sampler.structure == region::Structure::kNone) {
    record.options.sampler.subjects.clear();
  }
}

}  // namespace

PictureRecord record_of(const Session& session, region::Scene scene,
                        const region::SampleOptions& options) {
  // A record says so only where it matters: prompts without syntax make the same bytes as before
  // there was any.
  const bool marked = !options.sampler.plain_text && has_syntax(session, scene);
  // The same of A1111's text, which is what it always was without these.
  const bool tells_more = !scene.root_prompt.empty() || !scene.root_negative_prompt.empty() ||
                          options.pictures.hires != 1.0;
  return {.program = version(),
          .libtorch = TORCH_VERSION,
          .base = session.base,
          .base_hash = session.base_hash,
          .read = session.read,
          .concepts = session.concepts,
          .scene = std::move(scene),
          .options = options,
          .has_syntax = marked,
          .has_parameters = true,
          .has_whole_parameters = tells_more,
          .device = session.model.device().str(),
          .dtype = nn::name_of(session.model.dtype()),
          .threads = at::get_num_threads(),
          .seed = options.seed};
}

PaintProgress::PaintProgress(const ProgressCallback& tell, std::int64_t batches)
    : tell_(tell), batches_(batches) {}

diffusion::StepCallback PaintProgress::of_batch(std::int64_t batch) const {
  if (!tell_) return {};
  return [this, batch](const diffusion::DenoiseStep& step) {
    tell_({.stage = "painting",
           .step = batch * step.total + step.index + 1,
           .total = batches_ * step.total,
           .loss = std::numeric_limits<double>::quiet_NaN(),
           .seconds = watch_.seconds()});
  };
}

void paint(Session& session, const PictureRecord& whole, const region::PaintInputs& inputs,
           std::int64_t at_a_time, const PaintHooks& hooks) {
  const auto count = whole.options.count;
  const bool has_choices = !whole.options.sampler.plain_text && region::has_choices(whole.scene);
  // Prompts differ then, and a batch has one text.
  if (has_choices || whole.options.sampler.auto_regions) at_a_time = 1;
  const PaintProgress progress(hooks.progress, (count + at_a_time - 1) / at_a_time);
  std::optional<Composition> composition;
  auto with_texts = inputs;
  std::vector<std::string>
      encoded;  // prompts, which are the same for every picture without choices
  for (std::int64_t first = 0; first < count; first += at_a_time) {
    auto record = whole;
    // The record of a picture names the batch that it was painted in: float sums depend on their
    // batch, so a rerun paints all of it.
    record.options.seed += static_cast<std::uint64_t>(first);
    record.options.count = std::min(at_a_time, count - first);
    if (has_choices) record.scene = region::choose_texts(whole.scene, record.options.seed);
    if (record.options.sampler.auto_regions) {
      composition.reset();
      encoded.clear();
      find_regions(session, record, inputs, hooks.cancel);
    }
    if (auto prompts = region::encoded_prompts_of(record.scene); prompts != encoded) {
      composition.reset();  // the former scene's concepts leave the weights first
      composition.emplace(session, record.scene, record.options);
      with_texts = composition->of_scene(inputs);
      encoded = std::move(prompts);
    }
    auto on_step = progress.of_batch(first / at_a_time);
    if (hooks.of_batch) on_step = hooks.of_batch(std::move(on_step), record);
    const auto pictures = region::sample_pictures(
        session.model, session.tokens, record.scene, record.options, with_texts,
        composition->with_turns(std::move(on_step)), hooks.cancel);
    for (std::int64_t i = 0; i < pictures.size(0); ++i) {
      record.seed = record.options.seed + static_cast<std::uint64_t>(i);
      if (hooks.picture) hooks.picture(pictures[i], record);
    }
  }
}

}  // namespace mos::session
