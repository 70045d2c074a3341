#pragma once

#include <torch/types.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "mos/base/choice.h"
#include "mos/region/attention_observer.h"
#include "mos/region/region_shape.h"

/// Ways to move the latents so that the network looks where it shall: a loss over attention, whose
/// gradient goes through the U-Net to the latents of a step. A new one is a file in guides/ and a
/// row of the table there.
namespace mos::region {

enum class Guide {
  kNone,
  kAttend,    ///< Attend-and-Excite (arXiv 2301.13826).
  kLayout,    ///< Layout control with cross-attention guidance (arXiv 2304.03373).
  kBounded,   ///< Bounded attention (arXiv 2403.16990).
  kComposer,  ///< LoRA-Composer's (arXiv 2403.11627).
};
constexpr auto choice_names(Guide) {
  return std::to_array<Named<Guide>>({{"none", Guide::kNone},
                                      {"attend", Guide::kAttend},
                                      {"layout", Guide::kLayout},
                                      {"bounded", Guide::kBounded},
                                      {"composer", Guide::kComposer}});
}

/// What shall be seen, and where.
struct Subject {
  std::string name;
  std::size_t text = 0;                   ///< Of the observed texts.
  std::vector<std::int64_t> columns;      ///< Its tokens in that text.
  RegionShape shape = {};                 ///< Of its region; without one: anywhere.
  std::vector<std::int64_t> hidden = {};  ///< Columns of that text that its region does not read.
};

/// One forward pass, for a loss.
struct Seen {
  std::vector<SeenLayer> layers;
  std::vector<Subject> subjects;
};

/// Where in sampling a call is.
struct GuideTime {
  std::int64_t index = 0, total = 1;  ///< Calls before this one, calls in all.
  double noise = 1.0;                 ///< 1 − ᾱ, the noise's share of the sample's variance.
  std::int64_t subjects = 1;          ///< How many there are.
  /// Of the calls; published numbers are for 50.
  double share() const { return static_cast<double>(index) / static_cast<double>(total); }
};

/// How often a step's sample is moved, z ← z − size · ∇loss.
struct GuideStep {
  std::int64_t most = 0;  ///< At most so often, while the loss is above `enough`.
  double enough = 0.0;
  std::int64_t always = 0;  ///< And then so often, while there is any loss.
  double size = 0.0;
  /// Whether this is a picture's last step with moves if its loss is above that of the step before.
  bool last_if_worse = false;
};

class LatentGuide {
 public:
  virtual ~LatentGuide() = default;
  /// `level`: see guide_level().
  virtual bool looks_at(const LayerPlace& place, std::int64_t level) const = 0;
  virtual GuideStep step_at(const GuideTime& time) const = 0;
  /// A float32 scalar.
  virtual torch::Tensor loss(const Seen& seen) const = 0;
  /// Whether the first step begins with another sample [1,C,h,w], made from what was seen of the
  /// given one.
  virtual bool begins() const { return false; }
  virtual torch::Tensor beginning(const torch::Tensor& sample, const Seen& /*seen*/) const {
    return sample;
  }
};

struct GuideInfo {
  Guide guide = Guide::kNone;
  std::string_view title;      ///< As its authors call it.
  bool needs_regions = false;  ///< It is about places: every subject is one of a region.
  bool isolates = false;       ///< Its regions do not see each other, whatever the scene says.
  std::unique_ptr<LatentGuide> (*make)() = nullptr;
};

/// Required: not kNone.
const GuideInfo& guide_info(Guide guide);

/// The features whose cross-attention tells where things are: 1/32 of the pixels (a quarter of the
/// latents' sides, as the authors of Attend-and-Excite and LoRA-Composer have it), or finer ones
/// where these have fewer than 8 positions on a side; of the layers in `among` (empty: all) those
/// that come nearest.
std::int64_t guide_level(nn::UNet2DConditionModel unet, nn::FeatureSize latents,
                         const AttentionObserver::Choice& among = {});

/// The shape of a subject on the features of a layer, flat [N].
torch::Tensor flat_mask(const Subject& subject, const SeenLayer& layer);

/// What of a map [heads,N,S] falls on the subject's words: [heads,N].
torch::Tensor of_words(const SeenLayer& layer, const Subject& subject);

/// What of the canvas no subject's region covers, on the features of a layer, flat [N].
torch::Tensor background_mask(const Seen& seen, const SeenLayer& layer);

/// Self-attention of a layer [heads,N,N] as it is where regions do not see each other: a softmax
/// over the positions of the own region and of none. Positions of none see all. A position is of
/// the regions that cover half of it.
torch::Tensor isolated_self(const Seen& seen, const SeenLayer& layer);

}  // namespace mos::region
