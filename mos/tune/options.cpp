#include "mos/tune/options.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "mos/base/error.h"
#include "mos/base/runtime.h"
#include "mos/base/text.h"
#include "mos/base/text_distance.h"
#include "mos/tune/captions.h"
#include "mos/tune/plan.h"

namespace mos::tune {

namespace {

[[noreturn]] void refuse(const std::string& message) { throw Error(ErrorKind::kUsage, message); }

void check_choice(const char* name, const std::string& value,
                  const std::vector<std::string>& choices) {
  if (std::find(choices.begin(), choices.end(), value) != choices.end()) return;
  std::string list;
  for (const auto& choice : choices) list += (list.empty() ? "" : ", ") + choice;
  refuse(fmt::format("\"{}\" is \"{}\", expected one of {}{}", name, value, list,
                     did_you_mean(value, choices)));
}

void check_range(const char* name, double value, double low, double high) {
  if (value >= low && value <= high) return;  // false for NaN
  refuse(fmt::format("\"{}\" is {}, expected a value from {} to {}", name, value, low, high));
}

void check_at_least(const char* name, std::int64_t value, std::int64_t low) {
  if (value >= low) return;
  refuse(fmt::format("\"{}\" is {}, expected at least {}", name, value, low));
}

void check_words(const WordOptions& words) {
  check_choice("rows", words.rows, word_rows_names());
  check_range("random_sigma", words.random_sigma, 0, 100);
  const auto names = separate_words(words.words), starts = separate_words(words.initializers);
  for (auto word = names.begin(); word != names.end(); ++word) {
    if (std::find(names.begin(), word, *word) != word) {
      refuse(fmt::format("the word {} is given twice", *word));
    }
    if (word->find(kPlaceholder) != word->npos) {
      refuse(fmt::format("{} stands for the concept in captions and cannot be in its word {}",
                         kPlaceholder, *word));
    }
  }
  if (!starts.empty() && !names.empty() && starts.size() != names.size()) {
    refuse(fmt::format("there are {} initializers for {} words; give one for each word",
                       starts.size(), names.size()));
  }
}

void check_pictures(const PictureOptions& pictures) {
  check_at_least("size", pictures.size, 0);
  check_choice("framing", pictures.framing, {"character", "object", "fit"});
  check_range("crop_probability", pictures.crop_probability, 0, 1);
  check_range("scale_min", pictures.scale_min, 0.05, 1);
  check_range("scale_max", pictures.scale_max, pictures.scale_min, 1);
  check_range("flip_probability", pictures.flip_probability, 0, 1);
  check_at_least("variants", pictures.variants, 0);
}

void check_weights(const WeightOptions& weights) {
  check_at_least("rank", weights.rank, 0);
  check_range("lora_scale", weights.scale, -100, 100);
  check_choice("where", weights.where, selector_names());
  check_choice("lora_start", weights.start, down_start_names());
  check_range("kv_drop", weights.kv_drop, 0, 1);
}

void check_loss(const LossOptions& loss) {
  check_range("noise_offset", loss.noise_offset, 0, 10);
  check_range("attention_weight", loss.attention_weight, 0, 1e6);
  check_range("density_weight", loss.density_weight, 0, 1e6);
  check_range("density_bandwidth", loss.density_bandwidth, 0.01, 100);
}

void check_optimiser(const OptimiserOptions& optimiser) {
  constexpr double kLargestRate = 1.0;
  check_at_least("steps", optimiser.steps, 1);
  check_at_least("batch", optimiser.batch, 1);
  check_at_least("accumulate", optimiser.accumulate, 1);
  check_at_least("micro_batch", optimiser.micro_batch, 0);
  check_range("embedding_rate", optimiser.embedding_rate, 0, kLargestRate);
  check_range("text_rate", optimiser.text_rate, 0, kLargestRate);
  check_range("unet_rate", optimiser.unet_rate, 0, kLargestRate);
  check_choice("decay", optimiser.decay, {"linear", "none"});
  check_range("weight_decay", optimiser.weight_decay, 0, 1);
  check_range("beta1", optimiser.beta1, 0, 0.9999);
  check_range("beta2", optimiser.beta2, 0, 0.999999);
  check_range("norm_threshold", optimiser.norm_threshold, 0, 1e6);
}

void check_run(const RunOptions& run) {
  constexpr std::int64_t kMostPreviewSteps = 1000;
  check_choice("dtype", run.dtype, {"auto", "float32", "bfloat16"});
  check_range("threads", static_cast<double>(run.threads), 0, static_cast<double>(kMostThreads));
  check_at_least("checkpoint_every", run.checkpoint_every, 0);
  check_at_least("preview_every", run.preview_every, 0);
  check_at_least("preview_pictures", run.preview_pictures, 0);
  check_range("preview_steps", static_cast<double>(run.preview_steps), 1, kMostPreviewSteps);
  check_range("preview_guidance", run.preview_guidance, 0, 100);
  for (const auto scale : run.preview_scales) check_range("preview_scales", scale, -10, 10);
}

}  // namespace

std::vector<std::string> separate_words(const std::vector<std::string>& entries) {
  std::vector<std::string> words;
  for (const auto& entry : entries) {
    for (auto& word : split_words(replaced(entry, ">+", "> "))) words.push_back(std::move(word));
  }
  return words;
}

void check_options(const TuneOptions& options) {
  method_named(options.method);
  check_words(options.words);
  check_pictures(options.pictures);
  check_at_least("keep", options.captions.keep, 0);
  check_choice("templates", options.captions.templates,
               {"auto", "photo", "character", "painting", "none"});
  check_choice("caption_lines", options.captions.lines, {"first", "any", "all"});
  check_range("caption_dropout", options.captions.dropout, 0, 1);
  check_weights(options.weights);
  check_loss(options.loss);
  check_optimiser(options.optimiser);
  check_run(options.run);
}

}  // namespace mos::tune
