#include "mos/tune/run.h"

#include <fmt/core.h>
#include <torch/version.h>

#include <algorithm>
#include <filesystem>

#include "mos/base/error.h"
#include "mos/base/log.h"
#include "mos/base/place.h"
#include "mos/base/stopwatch.h"
#include "mos/concepts/training_metadata.h"
#include "mos/nn/compute.h"
#include "mos/tune/checkpoint.h"
#include "mos/tune/preview.h"

namespace mos::tune {

Run::Run(const diffusion::Model& base, const ConceptDataset& dataset, const TuneOptions& options,
         const TuneHooks& hooks)
    : base_(base),
      options_(options),
      hooks_(hooks),
      trainer_(base, dataset, options),
      identity_(identity_of(base, dataset, options, trainer_.dividing_threads())) {
  identity_.program =
      fmt::format("mixofshow {} with LibTorch {}", hooks.program_version, TORCH_VERSION);
  options_.run.dtype = nn::name_of(base.dtype());  // what "auto" came out as
}

concepts::ConceptDelta Run::finish() {
  if (hooks_.identified) hooks_.identified(identity_);
  take_up_checkpoint();
  const auto total = options_.optimiser.steps;
  const Stopwatch watch;
  while (trainer_.state().step < total) {
    // Between steps alone: a half-done step belongs to no checkpoint.
    if (hooks_.cancel != nullptr && hooks_.cancel->cancelled()) stop();
    // Before the step: a run that was stopped between a save and its pictures makes them first.
    if (previews_are_due()) show();
    grant_wishes();
    trainer_.step();
    report(watch.seconds());
    const auto step = trainer_.state().step;
    const auto every = options_.run.checkpoint_every;
    if (every > 0 && step % every == 0 && step < total) save();
  }
  // The steps are all done: from here on nothing may lose them.
  const bool is_kept = save(Unplaced::kKeepBeside);
  refuse_nothing(is_kept);
  show();
  auto delta = trainer_.attached().snapshot();
  delta.metadata = metadata();
  return delta;
}

void Run::take_up_checkpoint() {
  std::error_code error;
  if (hooks_.checkpoint.empty() || !std::filesystem::exists(hooks_.checkpoint, error)) return;
  if (hooks_.fresh) {
    given_up_ = other_run_at(hooks_.checkpoint, identity_);
    return;
  }
  trainer_.resume(hooks_.checkpoint, identity_);
  log::info(fmt::format("going on from step {} of {}", trainer_.state().step,
                        hooks_.checkpoint.string()));
}

/// How the run of a checkpoint that has come to lie in the place of this one's differs: somebody
/// tunes to the same place. That run may have been stopped, and then it is all that there is of it.
std::string Run::other_run() const {
  auto other = other_run_at(hooks_.checkpoint, identity_);
  return other == given_up_ ? "" : other;
}

/// Throws kIo where there is one.
void Run::leave_other_runs() const {
  const auto other = other_run();
  if (other.empty()) return;
  throw Error(ErrorKind::kIo,
              fmt::format("{} is now of another run, with {}, and stays; give each run a place of "
                          "its own",
                          hooks_.checkpoint.string(), other));
}

/// What lies in its place is looked at when this one is complete: two runs may be stopped at once.
void Run::write_checkpoint(Unplaced unplaced) {
  const FileKind of_this_run{.name = "a checkpoint of this run",
                             .matches = [this](const std::filesystem::path& path) {
                               const auto other = other_run_at(path, identity_);
                               return other.empty() || other == given_up_;
                             }};
  trainer_.save({hooks_.checkpoint, {.kind = of_this_run, .unplaced = unplaced}}, identity_);
  given_up_.clear();
}

/// Whether the run now stands in its checkpoint. One that cannot take its place is kept beside it
/// only where no other follows, else each would leave a copy.
bool Run::save(Unplaced unplaced) {
  if (hooks_.checkpoint.empty()) return false;
  tried_step_ = trainer_.state().step;
  try {
    leave_other_runs();
    write_checkpoint(unplaced);
    return true;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kIo) throw;
    // A full disk ends no run: the next save may find room, and the concept itself is small.
    log::warn(fmt::format("no checkpoint of step {}: {}", trainer_.state().step, error.what()));
    return false;
  }
}

void Run::stop() {
  std::string how = "these steps were not saved";
  try {
    if (!hooks_.checkpoint.empty()) {
      write_checkpoint(Unplaced::kKeepBeside);
      how = fmt::format("the same command goes on from {}", hooks_.checkpoint.string());
    }
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kIo) throw;
    how = fmt::format("these steps were not saved there: {}", error.what());
    if (const auto other = other_run(); !other.empty()) {
      how += fmt::format("; {} is of another run now, with {}: what is moved there is gone on from",
                         hooks_.checkpoint.string(), other);
    }
  }
  throw Error(ErrorKind::kCancelled,
              fmt::format("stopped after step {} of {}; {}", trainer_.state().step,
                          options_.optimiser.steps, how));
}

bool Run::previews_are_due() const {
  const auto every = options_.run.preview_every;
  const auto& state = trainer_.state();
  return every > 0 && state.step > 0 && state.step % every == 0 && state.previewed < state.step;
}

/// Throws kUsage where gates moved, but none of them so far that an entry is a neuron: such a
/// concept would change nothing.
void Run::refuse_nothing(bool is_kept) const {
  if (options_.weights.form != WeightForm::kNeurons) return;
  double deepest = 0.0;  // of the gates, which fall by rate · weight · gradient
  for (const auto& parameter : trainer_.attached().parameters()) {
    if (!parameter.name.ends_with(".gate")) return;  // there are words, too
    deepest = std::min(deepest, parameter.value.detach().min().item<double>());
  }
  const auto rate = options_.optimiser.unet_rate;
  if (deepest <= -options_.weights.neuron_threshold * rate) return;
  const auto kept =
      is_kept ? fmt::format("; the run is kept in {}", hooks_.checkpoint.string()) : std::string();
  throw Error(
      ErrorKind::kUsage,
      fmt::format("no entry of the weights is a neuron of the concept: the largest sum of "
                  "weight x gradient is {:.3g}, below --neuron-threshold {:.3g}{}: the same "
                  "command with a lower threshold writes the concept",
                  -deepest / rate, options_.weights.neuron_threshold, kept));
}

void Run::show() {
  if (hooks_.preview_folder.empty()) return;
  const auto step = trainer_.state().step;
  if (tried_step_ != step) save();  // painting can be cancelled, too
  try {
    write_previews(
        hooks_.preview_folder, step, base_, trainer_.attached(), options_,
        {.painted = hooks_.preview, .progress = hooks_.progress, .cancel = hooks_.cancel});
  } catch (const Error& error) {
    const bool is_black = error.kind() == ErrorKind::kMismatch;
    if (error.kind() != ErrorKind::kIo && !is_black) throw;
    log::warn(fmt::format("sample pictures of step {} are missing: {}", step, error.what()));
  }
  trainer_.note_previews();
}

void Run::grant_wishes() {
  if (hooks_.wishes == nullptr) return;
  const auto step = trainer_.state().step;
  if (hooks_.wishes->take_save() && save()) log::info(fmt::format("saved step {}", step));
  // Before the first step there is nothing to see but the base.
  if (step > 0 && hooks_.wishes->take_show()) show();
}

void Run::report(double seconds) const {
  if (!hooks_.progress) return;
  hooks_.progress({.stage = "tuning",
                   .step = trainer_.state().step,
                   .total = options_.optimiser.steps,
                   .loss = trainer_.state().smoothed_loss,
                   .seconds = seconds});
}

/// All that the bytes of the concept depend on; times, places and the machine are not in it.
std::map<std::string, std::string> Run::metadata() const {
  std::map<std::string, std::string> entries = {{"method", options_.method},
                                                {"class_word", options_.words.class_word},
                                                {"base_model", identity_.base},
                                                {"data", identity_.data},
                                                {"options", write_options(options_).dump()},
                                                {"steps", std::to_string(trainer_.state().step)},
                                                {"program", "mixofshow " + hooks_.program_version},
                                                {"libtorch", TORCH_VERSION}};
  if (options_.words.rows == WordRows::kNone || options_.words.class_behind) {
    entries[concepts::kPhraseKey] = concept_phrase(options_.words);
  }
  if (!base_.device().is_cpu()) entries["device"] = base_.device().str();
  if (const auto threads = trainer_.dividing_threads(); threads > 0) {
    entries["threads"] = std::to_string(threads);
  }
  return entries;
}

}  // namespace mos::tune
