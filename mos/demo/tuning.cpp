#include "mos/demo/tuning.h"

#include <filesystem>

#include "mos/base/stopwatch.h"
#include "mos/concepts/concept_writer.h"
#include "mos/nn/compute.h"
#include "mos/tune/plan.h"
#include "mos/tune/tune.h"

namespace mos::demo {
namespace {

tune::TuneOptions options_of(const TuningOrder& order, const tune::ConceptDataset& dataset) {
  auto options = tune::method_options("", order.base);
  if (order.steps > 0) options.optimiser.steps = order.steps;
  options.run.seed = order.seed;
  options.run.preview_pictures = 0;  // pictures are painted by who ordered
  return tune::complete_options(options, dataset);
}

}  // namespace

Tuning tune(const TuningOrder& order, const tune::ConceptDataset& dataset,
            const ProgressCallback& progress, const CancelToken* cancel) {
  const auto options = options_of(order, dataset);
  const auto base =
      diffusion::Model::load(order.base, {.dtype = nn::dtype_named(options.run.dtype)});
  tune::TuneHooks hooks;
  hooks.cancel = cancel;
  hooks.progress = [&](Progress report) {
    report.stage = "tuning " + order.name;
    if (progress) progress(report);
  };
  Tuning result{.class_word = options.words.class_word};
  const Stopwatch watch;
  result.delta = tune::tune_concept(base, dataset, options, hooks);
  result.seconds = watch.seconds();
  concepts::save_concept(std::filesystem::path(order.out) / (order.name + ".safetensors"),
                         result.delta);
  return result;
}

}  // namespace mos::demo
