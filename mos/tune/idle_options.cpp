#include "mos/tune/idle_options.h"

#include <fmt/core.h>

#include <algorithm>
#include <iterator>
#include <string>

#include "mos/base/describe.h"
#include "mos/base/log.h"
#include "mos/base/text.h"

namespace mos::tune {
namespace {

/// An option that is of another one.
struct Need {
  const char* option;
  const char* of;
  bool (*is_met)(const TuneOptions& options);
};

bool is_low_rank(const TuneOptions& o) { return o.weights.form == WeightForm::kLowRank; }
bool has_lora(const TuneOptions& o) { return is_low_rank(o) && o.weights.rank > 0; }
bool weights_change(const TuneOptions& o) { return changes_weights(o.weights); }
bool has_word_rows(const TuneOptions& o) { return o.words.rows != WordRows::kNone; }
bool scales(const TuneOptions& o) { return o.pictures.framing == FramingKind::kObject; }
bool has_prior(const TuneOptions& o) { return o.prior.pictures > 0; }

constexpr const char* kWeights = "weights that change, and --rank 0 leaves all as they are";
constexpr const char* kRows = "words with rows of their own, and --rows is none";

constexpr Need kNeeds[] = {
    {"where", kWeights, weights_change},
    {"text_rate", kWeights, weights_change},
    {"unet_rate", kWeights, weights_change},
    {"embedding_rate", kRows, has_word_rows},
    {"norm_threshold", kRows, has_word_rows},
    {"density_weight", kRows, has_word_rows},
    {"rank", "--form low_rank", is_low_rank},
    {"lora_scale", "--form low_rank with a --rank", has_lora},
    {"lora_start", "--form low_rank with a --rank", has_lora},
    {"basis_seed", "--lora-start orthogonal",
     [](const TuneOptions& o) { return has_lora(o) && o.weights.start == DownStart::kOrthogonal; }},
    {"neuron_threshold", "--form neurons",
     [](const TuneOptions& o) { return o.weights.form == WeightForm::kNeurons; }},
    {"kv_drop", kWeights, weights_change},
    {"lora_drop", kWeights, weights_change},
    {"scale_min", "--framing object", scales},
    {"scale_max", "--framing object", scales},
    {"timesteps", "--batch above 1, of which each picture has its part",
     [](const TuneOptions& o) { return o.optimiser.batch > 1; }},
    {"keep", "--shuffle true", [](const TuneOptions& o) { return o.captions.shuffle; }},
    {"full_identity", "--attention-weight above 0",
     [](const TuneOptions& o) { return o.loss.attention_weight > 0; }},
    {"density_bandwidth", "--density-weight above 0",
     [](const TuneOptions& o) { return o.loss.density_weight > 0; }},
    {"prior_weight", "--prior above 0", has_prior},
    {"prior_prompt", "--prior above 0", has_prior},
    {"prior_steps", "--prior above 0", has_prior},
    {"prior_guidance", "--prior above 0", has_prior},
};

}  // namespace

bool is_idle(std::string_view option, const TuneOptions& options) {
  const auto found =
      std::ranges::find_if(kNeeds, [&](const Need& need) { return need.option == option; });
  return found != std::end(kNeeds) && !found->is_met(options);
}

void warn_of_idle(const TuneOptions& before, const TuneOptions& options) {
  const auto was = write_options(before), is = write_options(options);
  for (const auto& need : kNeeds) {
    const auto& value = is.at(need.option);
    if (need.is_met(options) || value == was.at(need.option)) continue;
    log::warn(fmt::format("--{} {} changes nothing: it is of {}", replaced(need.option, "_", "-"),
                          value.is_string() ? value.get<std::string>() : value.dump(), need.of));
  }
}

}  // namespace mos::tune
