#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "mos/base/json.h"
#include "mos/tune/options.h"

/// A folder of pictures as tuning sees it, for people to look at before they tune.
namespace mos::jobs {

struct PicturesJob {
  std::string data;  ///< Folder of the pictures; docs/pictures.md has the layouts.
  std::string base;  ///< The model whose canvas they come onto; empty: 512 pixels.
  std::int64_t size = 0;
  tune::FramingKind framing = tune::FramingKind::kCharacter;
  double crop_probability = 0.5;
  std::uint64_t seed = 0;
};

template <class Visitor>
void describe(Visitor& visit, PicturesJob& job) {
  visit("data", job.data, "folder of the pictures", a_path());
  visit("base", job.base, "the model that they are for (empty: a canvas of 512 pixels)", a_path());
  visit("size", job.size, "canvas side in pixels (0: the base model's)", between(0, 1 << 14));
  visit("framing", job.framing, "character, object (random scale), fit (whole) or zoom");
  visit("crop_probability", job.crop_probability, "how often a picture is cropped", between(0, 1));
  visit("seed", job.seed, "of the run that draws the crops");
}

/// Every picture with its size, mask, caption, the crops that a run with this seed draws first, how
/// sharp it is, and what is to be said of it; docs/api.md has the fields. What cannot be read is
/// among the problems. Throws mos::Error: kUsage, kIo when the folder is not there.
Json look_at_pictures(const PicturesJob& job);

}  // namespace mos::jobs
