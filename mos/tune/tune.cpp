#include "mos/tune/tune.h"

#include <ATen/Parallel.h>
#include <fmt/core.h>
#include <fmt/ranges.h>
#include <torch/version.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>

#include "mos/base/error.h"
#include "mos/base/json.h"
#include "mos/base/log.h"
#include "mos/nn/kernels/cpu_features.h"
#include "mos/tune/caption_check.h"
#include "mos/tune/captions.h"
#include "mos/tune/preview.h"
#include "mos/tune/trainer.h"

namespace mos::tune {

namespace {

/// The authors' start values: a small random vector for the adjective, the class word's own row
/// for the subject.
std::vector<std::string> default_initializers(const WordOptions& words) {
  const bool has_class = !words.class_word.empty();
  const double authors = has_class ? 0.013 : 0.017;
  const double sigma = words.random_sigma > 0 ? words.random_sigma : authors;
  std::vector<std::string> initializers(words.words.size(), fmt::format("<rand-{}>", sigma));
  if (has_class && !initializers.empty()) initializers.back() = words.class_word;
  return initializers;
}

/// FNV-1a over names, captions and bytes.
std::string dataset_hash(const ConceptDataset& dataset) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  const auto add = [&hash](const void* data, std::size_t bytes) {
    const auto* byte = static_cast<const unsigned char*>(data);
    for (std::size_t i = 0; i < bytes; ++i) hash = (hash ^ byte[i]) * 0x100000001b3ULL;
  };
  const auto add_text = [&](const std::string& text) { add(text.c_str(), text.size() + 1); };
  for (const auto& picture : dataset.pictures) {
    add_text(picture.name);
    add_text(picture.caption.text);
    for (const auto& other : picture.caption.others) add_text(other);
    if (picture.repeats > 1) add_text(std::to_string(picture.repeats));
    for (const auto& image : {picture.pixels, picture.mask}) {
      if (!image.defined()) continue;
      const auto bytes = image.contiguous();
      add(bytes.data_ptr(), static_cast<std::size_t>(bytes.numel()));
    }
  }
  return fmt::format("{:016x}", hash);
}

/// The options that change what is learned, as JSON.
std::string learning_options(TuneOptions options) {
  const RunOptions defaults;
  const auto seed = options.run.seed;
  options.run = defaults;
  options.run.seed = seed;
  return write_options(options).dump();
}

std::map<std::string, std::string> metadata_of(const TuneOptions& options,
                                               const RunIdentity& identity, const TuneHooks& hooks,
                                               const Trainer& trainer) {
  return {{"kind", options.words.kind},
          {"class_word", options.words.class_word},
          {"base_model", identity.base},
          {"data", identity.data},
          {"options", write_options(options).dump()},
          {"steps", std::to_string(trainer.state().step)},
          {"program", "mixofshow " + hooks.program_version},
          {"libtorch", TORCH_VERSION}};
}

/// Another number of threads for its lifetime; 0 changes nothing.
class ScopedThreads {
 public:
  explicit ScopedThreads(std::int64_t threads) : before_(at::get_num_threads()) {
    if (threads > 0) at::set_num_threads(static_cast<int>(threads));
  }
  ~ScopedThreads() { at::set_num_threads(before_); }
  ScopedThreads(const ScopedThreads&) = delete;
  ScopedThreads& operator=(const ScopedThreads&) = delete;

 private:
  int before_;
};

/// Runs the steps that are left, with checkpoints and sample pictures.
class Run {
 public:
  Run(const diffusion::StableDiffusion& base, const ConceptDataset& dataset,
      const TuneOptions& options, const TuneHooks& hooks)
      : base_(base),
        options_(options),
        hooks_(hooks),
        identity_{.options = learning_options(options),
                  .base = diffusion::model_hash(base),
                  .prediction =
                      json_value<std::string>(base.scheduler_config, "prediction_type", "epsilon"),
                  .data = dataset_hash(dataset)},
        trainer_(base, dataset, options) {}

  concepts::ConceptDelta finish() {
    take_up_checkpoint();
    const auto total = options_.optimiser.steps;
    const auto start = std::chrono::steady_clock::now();
    while (trainer_.state().step < total) {
      if (hooks_.cancel != nullptr && hooks_.cancel->cancelled()) stop();
      trainer_.step();
      report(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
      const auto step = trainer_.state().step;
      const auto every = options_.run.checkpoint_every;
      if (every > 0 && step % every == 0 && step < total) save();
      const auto preview = options_.run.preview_every;
      if (preview > 0 && step % preview == 0 && step < total) show(step);
    }
    show(total);
    auto delta = trainer_.attached().snapshot();
    delta.metadata = metadata_of(options_, identity_, hooks_, trainer_);
    return delta;
  }

 private:
  void take_up_checkpoint() {
    std::error_code error;
    if (hooks_.checkpoint.empty() || !std::filesystem::exists(hooks_.checkpoint, error)) return;
    trainer_.resume(hooks_.checkpoint, identity_);
    log::info(fmt::format("going on from step {} of {}", trainer_.state().step,
                          hooks_.checkpoint.string()));
  }

  void save() {
    if (!hooks_.checkpoint.empty()) trainer_.save(hooks_.checkpoint, identity_);
  }

  [[noreturn]] void stop() {
    save();
    const auto how = hooks_.checkpoint.empty() ? std::string("nothing was saved")
                                               : fmt::format("the same command goes on from {}",
                                                             hooks_.checkpoint.string());
    throw Error(ErrorKind::kCancelled,
                fmt::format("stopped after step {} of {}; {}", trainer_.state().step,
                            options_.optimiser.steps, how));
  }

  void show(std::int64_t step) {
    if (hooks_.preview_folder.empty()) return;
    save();  // sampling can be cancelled too
    write_previews(hooks_.preview_folder, step, base_, trainer_.attached(), options_,
                   hooks_.cancel);
  }

  void report(double seconds) const {
    if (!hooks_.progress) return;
    hooks_.progress({.stage = "tuning",
                     .step = trainer_.state().step,
                     .total = options_.optimiser.steps,
                     .loss = trainer_.state().smoothed_loss,
                     .seconds = seconds});
  }

  const diffusion::StableDiffusion& base_;
  TuneOptions options_;
  const TuneHooks& hooks_;
  RunIdentity identity_;
  Trainer trainer_;
};

}  // namespace

TuneOptions complete_options(TuneOptions options, const ConceptDataset& dataset) {
  auto& words = options.words;
  words.words = separate_words(words.words.empty() ? dataset.words : words.words);
  words.initializers = separate_words(words.initializers);
  if (words.class_word.empty()) words.class_word = dataset.class_word;
  if (words.class_word.empty() && words.words.empty()) words.class_word = dataset.phrase;
  if (words.words.empty() && words.kind == "ed_lora") {
    throw Error(ErrorKind::kUsage,
                "the concept has no words; name them with --words \"<fox1>,<fox2>\" or in "
                "concept.json");
  }
  if (concept_phrase(words).empty()) {
    throw Error(ErrorKind::kUsage,
                "a concept without words needs a class word; name it with --class-word");
  }
  if (words.initializers.empty()) words.initializers = default_initializers(words);
  if (!dataset.templates.empty() && options.captions.templates == "auto") {
    options.captions.templates = dataset.templates;
  }
  check_options(options);
  check_captions(dataset, options);
  return options;
}

void read_base_defaults(const std::filesystem::path& base, TuneOptions& options) {
  const auto path = base / "tune_defaults.json";
  if (std::filesystem::exists(path)) read_options(read_json_file(path), path.string(), options);
}

torch::ScalarType compute_dtype(const RunOptions& run) {
  const bool fast_bf16 = nn::kernels::kFusedKernelsBuilt && nn::kernels::avx512_available();
  if (run.dtype == "bfloat16" || (run.dtype == "auto" && fast_bf16)) return torch::kBFloat16;
  return torch::kFloat32;
}

concepts::ConceptDelta tune_concept(const diffusion::StableDiffusion& base,
                                    const ConceptDataset& dataset, const TuneOptions& options,
                                    const TuneHooks& hooks) {
  if (dataset.pictures.empty()) {
    throw Error(ErrorKind::kUsage, "there are no pictures to tune on");
  }
  const ScopedThreads threads(options.run.threads);
  const auto complete = complete_options(options, dataset);
  warn_of_captions(dataset, complete, base.tokenizer);
  Run run(base, dataset, complete, hooks);
  auto delta = run.finish();
  std::error_code ignored;
  if (!hooks.checkpoint.empty()) std::filesystem::remove(hooks.checkpoint, ignored);
  return delta;
}

}  // namespace mos::tune
