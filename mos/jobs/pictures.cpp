#include "mos/jobs/pictures.h"

#include <torch/types.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <vector>

#include "mos/base/describe.h"
#include "mos/base/error.h"
#include "mos/diffusion/model.h"
#include "mos/io/image.h"
#include "mos/tune/dataset.h"
#include "mos/tune/draws.h"
#include "mos/tune/framing.h"
#include "mos/tune/trainer.h"

namespace mos::jobs {
namespace {

using torch::Tensor;

constexpr std::int64_t kUsualCanvas = 512;
constexpr std::int64_t kShownCrops = 4;

/// float32 [H,W], 0…255.
Tensor grey(const Tensor& pixels) {
  const auto weights = torch::tensor({0.299F, 0.587F, 0.114F});  // Rec. 601
  return torch::matmul(pixels.to(torch::kFloat32), weights);
}

// ---- Sharpness ----

/// Variance of the Laplacian (Pech-Pacheco et al., 2000) at a longer side of 256 pixels at most, so
/// that large and small pictures have one scale.
double sharpness(const Tensor& pixels) {
  constexpr std::int64_t kSide = 256;
  auto image = grey(pixels);
  const auto longer = std::max(image.size(0), image.size(1));
  if (longer > kSide) {
    const auto scaled = [longer](std::int64_t side) {
      return std::max<std::int64_t>(3, side * kSide / longer);
    };
    image = io::resize_area(image, scaled(image.size(0)), scaled(image.size(1)));
  }
  const auto height = image.size(0), width = image.size(1);
  const auto part = [&](std::int64_t top, std::int64_t left) {
    return image.narrow(0, top, height - 2).narrow(1, left, width - 2);
  };
  const auto laplacian = part(0, 1) + part(2, 1) + part(1, 0) + part(1, 2) - 4 * part(1, 1);
  return laplacian.to(torch::kFloat64).var(/*unbiased=*/false).item<double>();
}

/// Photographs out of focus are far below, drawings with any outline far above.
constexpr double kBlurred = 40.0;

// ---- Duplicates ----

struct Fingerprint {
  Tensor places;                 ///< float64 [16,16]: the brightness of its parts.
  std::array<double, 3> colour;  ///< The mean.
};

Fingerprint fingerprint(const Tensor& pixels) {
  constexpr std::int64_t kSide = 16;
  Fingerprint print{.places = io::resize_area(grey(pixels), kSide, kSide).to(torch::kFloat64)};
  const auto mean = pixels.to(torch::kFloat64).mean(at::IntArrayRef{0, 1});
  for (std::int64_t c = 0; c < 3; ++c)
    print.colour[static_cast<std::size_t>(c)] = mean[c].item<double>();
  return print;
}

double rms(const Tensor& values) { return values.square().mean().sqrt().item<double>(); }

/// The same picture, perhaps scaled or stored once more. Scaled by 0.5 to 3 and stored as JPEG at
/// 30, pictures of 128 pixels keep within 3.6 levels of themselves and a correlation of 0.989; the
/// most alike of 784 pairs of different ones, two of a bridge, are 4.6 apart.
bool are_alike(const Fingerprint& a, const Fingerprint& b) {
  constexpr double kMostDifference = 4.0, kMostColour = 6.0;
  constexpr double kLeastCorrelation = 0.98;
  for (std::size_t c = 0; c < 3; ++c) {
    if (std::abs(a.colour[c] - b.colour[c]) > kMostColour) return false;
  }
  if (rms(a.places - b.places) > kMostDifference) return false;
  const auto one = a.places - a.places.mean(), other = b.places - b.places.mean();
  const double contrast = rms(one) * rms(other);
  const bool is_flat = contrast < kMostDifference * kMostDifference;  // there is nothing to compare
  return is_flat || (one * other).mean().item<double>() >= kLeastCorrelation * contrast;
}

// ---- Crops ----

Json box_json(const tune::Framing::Rectangle& box) {
  return {{"top", box.top}, {"left", box.left}, {"height", box.height}, {"width", box.width}};
}

Json crops_of(const Tensor& pixels, std::int64_t number, const PicturesJob& job,
              std::int64_t canvas) {
  tune::PictureOptions options;
  options.framing = job.framing;
  options.crop_probability = job.crop_probability;
  constexpr std::uint64_t kManyVariants = std::uint64_t{1} << 32;  // as LatentSource counts them
  const auto first = static_cast<std::uint64_t>(number) * kManyVariants;
  const auto height = pixels.size(0), width = pixels.size(1);
  const auto count = tune::is_random(height, width, options) ? kShownCrops : 1;
  Json crops = Json::array();
  for (std::int64_t variant = 0; variant < count; ++variant) {
    auto generator = tune::generator_for(job.seed, tune::Draw::kFraming,
                                         first + static_cast<std::uint64_t>(variant));
    const auto framing = tune::draw_framing(height, width, canvas, options, generator);
    crops.push_back({{"source", box_json(framing.source)}, {"target", box_json(framing.target)}});
  }
  return crops;
}

std::int64_t canvas_of(const PicturesJob& job) {
  tune::PictureOptions options;
  options.size = job.size;
  if (!job.base.empty()) return tune::canvas_size(diffusion::Model::shapes(job.base), options);
  return job.size > 0 ? job.size : kUsualCanvas;
}

/// The pictures of one look at a folder, in the order of the dataset.
class PictureLook {
 public:
  PictureLook(const PicturesJob& job, std::int64_t canvas) : job_(job), canvas_(canvas) {}

  Json take(const tune::PictureFiles& files, const tune::TrainingPicture& picture) {
    const auto height = picture.pixels.size(0), width = picture.pixels.size(1);
    auto json = unread(files);
    json["width"] = width;
    json["height"] = height;
    json["caption"] = picture.caption.text;
    json["crops"] = crops_of(picture.pixels, number_++, job_, canvas_);
    const auto sharp = sharpness(picture.pixels);
    json["sharpness"] = sharp;
    if (sharp < kBlurred) json["flags"].push_back("blurred");
    if (2 * std::max(height, width) < canvas_) json["flags"].push_back("small");
    const auto print = fingerprint(picture.pixels);
    for (const auto& [name, before] : prints_) {
      if (!json["duplicate_of"].is_null() || !are_alike(print, before)) continue;
      json["flags"].push_back("duplicate");
      json["duplicate_of"] = name;
    }
    prints_.emplace_back(files.name, print);
    return json;
  }

  /// Of a picture that tuning does not get.
  static Json unread(const tune::PictureFiles& files) {
    return {{"name", files.name},
            {"file", files.picture.generic_string()},
            {"width", 0},
            {"height", 0},
            {"mask", files.mask.empty() ? Json() : Json(files.mask.generic_string())},
            {"caption", ""},
            {"caption_file", files.caption.empty() ? Json() : Json(files.caption.generic_string())},
            {"repeats", files.repeats},
            {"crops", Json::array()},
            {"sharpness", 0.0},
            {"flags", Json::array()},
            {"duplicate_of", nullptr},
            {"problems", Json::array()}};
  }

 private:
  const PicturesJob& job_;
  std::int64_t canvas_;
  std::int64_t number_ = 0;
  std::vector<std::pair<std::string, Fingerprint>> prints_;
};

/// Whether the sentence is about this picture, its mask or its caption.
bool is_about(const std::string& problem, const tune::PictureFiles& files,
              const std::filesystem::path& folder) {
  for (const auto* path : {&files.picture, &files.mask, &files.caption}) {
    if (!path->empty() && problem.starts_with(tune::name_within(folder, *path))) return true;
  }
  return false;
}

}  // namespace

Json look_at_pictures(const PicturesJob& job) {
  check_fields(job);
  if (job.data.empty()) throw Error(ErrorKind::kUsage, "say which pictures: --data FOLDER");
  const auto canvas = canvas_of(job);
  const auto files = tune::find_pictures(job.data);
  const auto [dataset, problems] = tune::check_dataset(job.data);
  std::map<std::string, const tune::TrainingPicture*> read;
  for (const auto& picture : dataset.pictures) read[picture.name] = &picture;
  PictureLook look(job, canvas);
  Json pictures = Json::array();
  for (const auto& file : files.pictures) {
    const auto found = read.find(file.name);
    auto json = found == read.end() ? PictureLook::unread(file) : look.take(file, *found->second);
    for (const auto& problem : problems) {
      if (is_about(problem, file, job.data)) json["problems"].push_back(problem);
    }
    pictures.push_back(std::move(json));
  }
  return {{"summary", dataset.summary()},
          {"problems", problems},
          {"warnings", dataset.warnings},
          {"size", canvas},
          {"pictures", pictures}};
}

}  // namespace mos::jobs
