#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mos/checkpoint/part.h"
#include "mos/tune/options.h"

/// A tuning method is a plan: which rows its words have, which weights change in which form, at
/// which rates, and what is added to the denoising error. Named plans are a table; each row sets
/// options, and the options that result are all that a run knows of its method.
namespace mos::tune {

bool selects(Selector selector, std::string_view layer);

/// How weights change: the selected layers of both networks, in one form.
struct WeightPlan {
  WeightForm form = WeightForm::kLowRank;
  Selector where = Selector::kAttention;
  std::int64_t rank = 4;  ///< 0: no weight changes.
  double scale = 1.0;
  DownStart start = DownStart::kKaiming;
  std::uint64_t basis_seed = 0;  ///< Of DownStart::kOrthogonal; its rows are drawn by `concept_id`.
  std::uint64_t concept_id = 0;  ///< Made of seed and words.
  double silent_gate = 0.0;      ///< Gates of WeightForm::kNeurons at or below −this are neurons.
};

/// The groups of what is trained, AttachedConcept has them under these names: the words, and every
/// network under that of its folder.
inline constexpr std::string_view kWordGroup = "words";

struct GroupPlan {
  std::string_view name;
  double rate = 0.0;            ///< Learning rate; 0: the group is frozen.
  double freeze_at_norm = 0.0;  ///< Mean norm of its rows at which it freezes; 0: never.
};

/// Terms beside the denoising error and its attention regularisation.
struct TermPlan {
  double density_weight = 0.0;  ///< Of the token density term, see token_density.h.
  double density_bandwidth = 0.5;
};

struct TuningPlan {
  WordRows rows = WordRows::kPerLayer;
  WeightPlan weights;
  std::vector<GroupPlan> groups;
  TermPlan terms;
  /// Probability with which each LoRA on K and V of cross-attention is off for a step, so that the
  /// words must carry the concept without it.
  double kv_drop = 0.0;
  double lora_drop = 0.0;  ///< The same of all weights together.

  /// Throws std::out_of_range for a name that is none of the groups.
  const GroupPlan& group(std::string_view name) const;

  /// Whether weights of this network change. LoRA is there at a rate of 0 too, as it always was.
  bool changes(checkpoint::Part part) const;
};

/// What `options` mean. Required: check_options(options). What hangs on words is what it says for
/// complete options.
TuningPlan plan_of(const TuneOptions& options);

/// A named plan: a row of the table.
struct Method {
  std::string_view name;
  std::string_view summary;
  std::string_view source;
  void (*set)(TuneOptions& options);  ///< Sets what makes it that method, with its source's rates.
};

std::span<const Method> methods();

/// Throws mos::Error(kUsage) for a name that is not in the table.
const Method& method_named(const std::string& name);

/// The options that a run with `method` on the base model in `base` starts from: the program's
/// defaults, over them what `tune_defaults.json` in that folder says, over it the method's, and
/// over that what the file says of this method under "methods". An empty name is the file's
/// "method", or ed_lora. Throws mos::Error for a file or a name that is wrong.
TuneOptions method_options(const std::string& method, const std::filesystem::path& base);

}  // namespace mos::tune
