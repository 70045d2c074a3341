#pragma once

#include <torch/types.h>

#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mos/concepts/concept_delta.h"
#include "mos/concepts/tokens.h"
#include "mos/diffusion/model.h"
#include "mos/nn/conditioning.h"
#include "mos/nn/unet.h"
#include "mos/text/clip_tokenizer.h"
#include "mos/train/parameters.h"
#include "mos/tune/options.h"
#include "mos/tune/plan.h"
#include "mos/tune/trained_layer.h"

/// The tensors that tuning changes and how they sit in the frozen networks.
namespace mos::tune {

/// Throws mos::Error(kUsage) where no word can start as `initializer` in a text encoder that reads
/// with `tokenizer`: it is neither random nor exactly one token of the vocabulary.
void check_initializer(const text::CLIPTokenizer& tokenizer, const std::string& initializer);

/// Fresh values: rows from their initializers, updates that change nothing (LoRA's `up` is zero).
/// `options.words` must be complete (see resolve_words in tune.h).
/// Throws as check_initializer does.
concepts::ConceptDelta start_values(const diffusion::Model& model, const TuneOptions& options);

/// What is trained together, under a name of plan.h.
struct TrainedGroup {
  std::string name;
  std::vector<NamedParameter> parameters;
};

/// Mean length of the rows [n,…] of its parameters, a scalar on their device. Required: it has
/// some.
torch::Tensor mean_norm(const TrainedGroup& group);

/// A concept under training in the frozen networks of a model, which it shares with whoever made
/// them; one at a time. Its rows and what TrainedLayer has of each layer are float32 leaves
/// that require grad; every other weight does not. The destructor takes all of it out of the
/// networks again.
class AttachedConcept {
 public:
  /// Copies the tensors of `start`, whose form says how each layer is trained. Throws
  /// mos::Error(kMismatch) when they do not fit.
  AttachedConcept(diffusion::Model model, const concepts::ConceptDelta& start,
                  const WeightPlan& plan = {});
  /// The same concept in other networks of the same shape: its parameters are leaves of their own
  /// on the values of `other`'s, which must outlive this one.
  AttachedConcept(diffusion::Model model, const AttachedConcept& other);
  ~AttachedConcept();
  AttachedConcept(const AttachedConcept&) = delete;
  AttachedConcept& operator=(const AttachedConcept&) = delete;

  /// Words (for each tower one tensor with the rows of all, [rows,C]; none without words), then the
  /// weights of each network under the name of its folder.
  const std::vector<TrainedGroup>& groups() const { return groups_; }
  /// Throws std::out_of_range for a name that is none of the groups.
  const TrainedGroup& group(std::string_view name) const;

  /// Those of all groups, in their order.
  std::vector<NamedParameter> parameters() const;

  using Layer = std::pair<checkpoint::Part, std::string>;  ///< By its name in its network.

  /// All layers that are trained.
  std::set<Layer> layers() const;
  /// Those that are K or V of cross-attention.
  std::set<Layer> kv_layers() const;
  /// These layers compute as they did before training, all others as trained.
  void switch_off(std::set<Layer> layers);

  /// Makes the networks compute with what the leaves are now: once for each graph.
  void put_weights();
  /// The networks compute what snapshot() at this scale gives, for pictures; put_weights() ends it.
  void show(double scale);

  /// The present values, copied.
  concepts::ConceptDelta snapshot() const;

  /// Text for the U-Net, with gradients towards the words and the towers' weights.
  nn::Conditioning encode(std::span<const std::string> prompts) const;

  const text::CLIPTokenizer& tokenizer() const { return model_.tokenizer(); }
  const concepts::ConceptTokens& tokens() const { return tokens_; }
  std::span<const diffusion::TextTower> towers() const { return model_.towers; }
  nn::UNet2DConditionModel& unet() { return model_.unet; }

 private:
  using TrainedLayers = std::map<std::string, std::unique_ptr<TrainedLayer>>;
  struct Word {
    std::string word;
    std::int64_t rows = 0;
  };

  void freeze_networks();
  void attach_words(const std::vector<concepts::ConceptWord>& words);
  void replicate(checkpoint::Part part, const TrainedLayers& others);
  void add_group(checkpoint::Part part);

  diffusion::Model model_;
  std::vector<torch::Tensor> former_rows_;  ///< By tower.
  concepts::ConceptTokens tokens_;
  std::map<std::string, std::string> metadata_;
  std::vector<Word> words_;
  std::map<checkpoint::Part, TrainedLayers> layers_;
  std::set<Layer> off_;
  std::vector<TrainedGroup> groups_;
};

}  // namespace mos::tune
