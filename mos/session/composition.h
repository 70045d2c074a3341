#pragma once

#include <cstddef>
#include <memory>
#include <set>
#include <vector>

#include "mos/region/sample.h"
#include "mos/session/session.h"

/// Composition without merging: concepts that act where the scene calls them.
namespace mos::session {

/// The concepts of a session in its model for one scene, for as long as this object lives. Without
/// regions, and for a session that keeps no concept apart, all there is of it are the texts.
///
/// A concept acts in the regions whose prompt calls it; one that none calls acts everywhere. Then,
/// as far as `compose` says so,
/// - text: every prompt is encoded with the text-encoder updates of the concepts that it calls, and
///   its keys and values are theirs;
/// - layers: their other updates of the U-Net act on the positions of the region alone.
/// So what a region is painted with is its own concepts and nothing else. Updates of the timestep's
/// embedding, which has no positions, are summed for the whole picture.
///
/// With `switch`, for scenes without regions, the text encoder has all concepts and the U-Net those
/// that the prompt calls one after the other, in the order in which they were given; with
/// `composite` it has each of them in every call, and what it says is the mean.
class Composition {
 public:
  /// Changes the weights of `session`, which must outlive this. Throws kMismatch for concepts that
  /// do not fit, kUsage for regions with `switch`, and as region::encode_scene does.
  Composition(Session& session, const region::Scene& scene, const region::SampleOptions& options);
  ~Composition();
  Composition(const Composition&) = delete;
  Composition& operator=(const Composition&) = delete;

  /// `inputs` with the scene's texts and the concepts of its regions.
  /// With `composite` they refer to this.
  region::PaintInputs of_scene(region::PaintInputs inputs) const;

  /// `on_step` (or nothing), and then the next concept where they take turns. Refers to this.
  diffusion::StepCallback with_turns(diffusion::StepCallback on_step);

 private:
  using Concepts = std::set<std::size_t>;  ///< Of session.apart.
  class ScopedConcepts;

  void place(const region::Scene& scene);
  void encode(const region::Scene& scene, const region::SampleOptions& options);
  void keep_own();
  void merge_unet();
  bool takes_turns() const;
  bool acts_now(std::size_t k) const;
  torch::Tensor mean_of_turns(const diffusion::NetworkCall& call,
                              const diffusion::Network& network) const;
  void take_turn(std::int64_t steps_done);
  bool is_own(const std::string& unet_layer) const;
  /// Those of text `i`: 0 the context, then the regions.
  Concepts heard_by(std::size_t i) const;

  Session& session_;
  region::Compose compose_;
  std::int64_t switch_every_;
  Concepts everywhere_;
  std::vector<Concepts> called_;  ///< By text, without those that are everywhere.
  region::SceneTexts texts_;
  region::OwnOfScene own_;
  std::unique_ptr<ScopedConcepts> in_unet_;
  std::vector<std::unique_ptr<ScopedConcepts>> composite_;  ///< One for each turn, put aside.
  std::vector<std::size_t> turns_;
  std::size_t turn_ = 0;
};

}  // namespace mos::session
