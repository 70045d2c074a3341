#pragma once

#include <torch/types.h>

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "mos/concepts/concept_delta.h"
#include "mos/concepts/tokens.h"
#include "mos/diffusion/model.h"
#include "mos/fuse/frozen_network.h"
#include "mos/train/parameters.h"

/// The concepts' own words in distillation. A weight of the fused model has to answer all concepts;
/// the rows of a word are read by the prompts of its own concept alone, so there nobody pulls the
/// other way.
namespace mos::fuse {

/// What rows become, by word.
using RowsByWord = std::map<std::string, concepts::TowerRows>;

/// Words under training: their rows are float32 leaves in the encoders of all towers, which compute
/// in float32 and train nothing else for as long as this lives; then they have their former rows.
class TaughtWords {
 public:
  /// `tokens` know all of `words`; a reference is kept.
  TaughtWords(const diffusion::Model& model, const concepts::ConceptTokens& tokens,
              const std::vector<std::string>& words);
  ~TaughtWords();
  TaughtWords(const TaughtWords&) = delete;
  TaughtWords& operator=(const TaughtWords&) = delete;

  /// A group for each word in each encoder, with a rate relative to the size of its rows.
  std::vector<train::ParameterGroup> groups(double relative_rate) const;

  /// Makes the encoders read the rows as they are now: once for each graph.
  void put();

  /// Whether one of them is in `prompt`.
  bool occur_in(std::string_view prompt) const;

  /// The present values, copied: float32 on the CPU.
  RowsByWord rows() const;

 private:
  struct Tower {
    checkpoint::Part part;
    nn::CLIPTextModel encoder;
    std::unique_ptr<FrozenNetwork> frozen;
    torch::Tensor former;
    std::vector<torch::Tensor> pieces;  ///< One below the other they are all rows.
    std::vector<torch::Tensor> leaves;  ///< Those of the pieces that are trained, by word.
  };
  Tower attach(const diffusion::TextTower& tower) const;

  const concepts::ConceptTokens& tokens_;
  std::vector<concepts::BoundWord> words_;  ///< As their rows follow each other.
  std::vector<Tower> towers_;
};

/// Gives words of `tokens` other rows in the text towers, of the same shapes.
void put_rows(const diffusion::Model& model, const concepts::ConceptTokens& tokens,
              const RowsByWord& rows);

/// ‖after − before‖ / ‖before‖ over all encoders.
double relative_change(const concepts::TowerRows& before, const concepts::TowerRows& after);

}  // namespace mos::fuse
