#pragma once

#include <torch/types.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mos/base/field_visitor.h"
#include "mos/base/json.h"
#include "mos/fuse/distill_options.h"
#include "mos/fuse/inputs.h"
#include "mos/fuse/update.h"

/// Ways to merge several concepts into one model, layer by layer. The stages of fuse_concepts.h
/// collect what a method asks for and write back what it finds; a method is a file in methods/ that
/// solves one layer, and a row of the table in method.cpp.
namespace mos::fuse {

/// The stages, in their order.
enum class LayerKind {
  kTextEncoder,     ///< Layers of the text encoder.
  kCrossAttention,  ///< Keys and values of the U-Net's cross-attention, which read the text.
  kUNet,            ///< All others.
};

/// One layer to be merged: W0 and, for each concept, W_i = W0 + ΔW_i.
struct LayerProblem {
  std::string layer;  ///< Its dotted name.
  LayerKind kind = LayerKind::kUNet;
  torch::Tensor weight;         ///< W0 [O,I], any float dtype; aliases the network's.
  std::vector<Update> updates;  ///< By concept; empty where one leaves the layer as it is.
  /// By concept, what the method's Weighting says of them.
  std::vector<double> weights;
  /// What the layer was seen to read, if the method asked for that.
  const SiteInputs* inputs = nullptr;
  /// Of keys and values: the text features of the captions, if it asked for some.
  const InputGram* captions = nullptr;
};

/// What becomes of a layer.
struct Merged {
  Update update;  ///< W − W0; empty: it stays as it is.
  /// When `up` is made of the concepts' own side by side: for each the first of its columns, and R
  /// at the end. Otherwise nothing.
  std::vector<std::int64_t> offsets = {};
  std::map<std::string, double> facts = {};  ///< For the report.
};

/// Which layers' inputs are recorded before merging.
enum class Recorded { kNothing, kKeysAndValues, kEverything };

/// What a method must be shown.
struct Needs {
  Recorded inputs = Recorded::kNothing;
  /// Of the prompts, keys and values see all from a concept's first word to the end token, a plain
  /// class word behind its own too, not its words and the end token alone.
  bool words_to_end = false;
  /// How often inputs are recorded once more, on what was merged from those before.
  std::int64_t rounds = 0;
  /// Of each layer's inputs, how many are kept as they are (see RowSample).
  std::int64_t kept_rows = 0;
  /// Texts whose features keys and values are to see beside those of the concepts.
  std::vector<std::string> captions = {};
  /// Phrases of the base model's own ("dog"): each is one more concept, which changes nothing.
  std::vector<std::string> kept_phrases = {};
  /// What follows once all layers are merged.
  std::optional<DistillOptions> distillation = {};
};

/// One way to merge, with its options. Two threads may merge with one object.
class MergeMethod {
 public:
  virtual ~MergeMethod() = default;

  /// Visits every option; see mos/base/describe.h.
  virtual void describe(FieldVisitor& /*visit*/) {}
  /// Throws mos::Error(kUsage) naming the first option with an impossible value.
  virtual void check() const {}

  virtual Needs needs() const { return {}; }

  /// Merges one layer. At least one of its updates is not empty.
  virtual Merged merge(const LayerProblem& problem) const = 0;
};

/// For MergeMethod::describe: the describe() that stands beside `options`, which the member hides.
template <class Options>
void describe_options(FieldVisitor& visit, Options& options) {
  describe(visit, options);
}

/// What `weights` mean to a method.
enum class Weighting {
  kFractions,   ///< Of one model: none negative, divided by their sum; 1/n each if none are given.
  kFactors,     ///< Any number, a factor on the concept's update; 1 if none are given.
  kImportance,  ///< None negative, how much the concept's inputs count; 1 if none are given.
};

/// Which updates a method takes.
enum class Forms { kAny, kLowRank };

/// A row of the table.
struct MethodInfo {
  std::string_view name;
  std::string_view help;  ///< One line.
  Weighting weighting = Weighting::kFractions;
  Forms forms = Forms::kAny;
  std::unique_ptr<MergeMethod> (*make)() = nullptr;
};

std::span<const MethodInfo> methods();
std::vector<std::string> method_names();
/// Throws mos::Error(kUsage) for a name that is not in the table, with the nearest one.
const MethodInfo& method_info(const std::string& name);

/// The method `name` with `options` (an object) in the place of its defaults.
/// Throws mos::Error: kUsage for an unknown name or option and for an impossible value, kFormat for
/// a value of another type.
std::unique_ptr<MergeMethod> make_method(const std::string& name, const Json& options);
/// All options of `method` as they are.
Json options_of(MergeMethod& method);

/// For n concepts, `given` or, if there are none, the default as `weighting` has it.
/// Throws mos::Error(kUsage) for another number of weights and for values that `weighting`
/// excludes.
std::vector<double> concept_weights(Weighting weighting, std::span<const double> given,
                                    std::size_t concepts);

}  // namespace mos::fuse
