#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "mos/io/state_dict.h"

/// What a set of tensors is, told by their names and shapes alone.
namespace mos::checkpoint {

/// Which architecture a model belongs to. Only the first two are built here; the others are
/// recognised so that they can be refused by name.
enum class Family { kSd1, kSd2, kSdxl, kSdxlRefiner, kSd3, kFlux, kOther };

/// How a file spells its names.
enum class Naming { kLdm, kDiffusers };

/// What a file holds: a model, one of its networks, or one that steers it.
enum class Content { kModel, kUNet, kVae, kTextEncoder, kControlNet, kAdapter };

struct Identity {
  Content content = Content::kModel;
  Family family = Family::kSd1;
  Naming naming = Naming::kLdm;
  /// What sets it apart within its family and keeps us from building it ("picture-editing U-Net
  /// with 8 input channels"); empty for a plain one.
  std::string variety;
};

/// Nothing when the tensors are no model and no part of one: a LoRA, an embedding, a concept.
std::optional<Identity> identify(const io::StateDict& tensors);

/// "Stable Diffusion 1.x", …
std::string name_of(Family family);
/// The family that we build whose text features are so wide; kOther for other widths.
Family family_of_width(std::int64_t width);
/// The family whose text features are so wide, which is what a LoRA or a ControlNet cannot hide;
/// says so where the width is of none or of one that is not built.
std::string family_of_text_width(std::int64_t width);
/// "model", "U-Net", …
std::string name_of(Content content);

/// Throws mos::Error(kMismatch) unless `identity` is a model of Stable Diffusion 1.x or 2.x that
/// we build; the message names what it is instead. `origin` is the file.
void require_buildable(const Identity& identity, const std::string& origin);

}  // namespace mos::checkpoint
