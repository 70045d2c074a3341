#pragma once

#include <filesystem>
#include <functional>
#include <optional>

#include "mos/diffusion/denoise.h"
#include "mos/diffusion/latent_preview.h"
#include "mos/session/picture_record.h"

namespace mos::session {

/// A small picture of what the steps have made so far, beside the picture that is painted:
/// NAME.preview.png, replaced every few steps and taken away at the end.
class Preview {
 public:
  /// Every `every` steps, or less often where that would cost a hundredth of their time; 0: never,
  /// and nothing is done at all. `tell`, if any, gets the path when there is a new one.
  Preview(std::int64_t every, const diffusion::Model& model,
          std::function<void(const std::filesystem::path&)> tell = {});

  static std::filesystem::path path_of(std::filesystem::path picture);

  /// `inner`, and a preview of the first picture of the batch, with its record.
  diffusion::StepCallback of_batch(diffusion::StepCallback inner,
                                   const std::filesystem::path& picture,
                                   const PictureRecord& record) const;

 private:
  std::int64_t every_;
  std::function<void(const std::filesystem::path&)> tell_;
  std::optional<diffusion::LatentColours> colours_;
};

}  // namespace mos::session
