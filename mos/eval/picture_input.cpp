#include "mos/eval/picture_input.h"

#include <fmt/core.h>

#include <algorithm>
#include <string>

#include "mos/base/error.h"
#include "mos/io/bicubic.h"
#include "mos/io/image.h"

namespace mos::eval {

using torch::Tensor;

namespace {

/// Longer sides by shorter ones. Of thinner pictures the square in the middle shows nothing, and
/// scaled to its height the rest takes gigabytes.
constexpr std::int64_t kMostAspect = 50;

void refuse_lines(const Tensor& picture) {
  const auto height = picture.size(0), width = picture.size(1);
  if (std::max(height, width) <= kMostAspect * std::min(height, width)) return;
  throw Error(
      ErrorKind::kUsage,
      fmt::format("a picture of {} x {} pixels (width x height) is too thin to be looked at, "
                  "expected at most {} to 1; crop it, or take a larger part",
                  width, height, kMostAspect));
}

Tensor resized(const Tensor& picture, std::int64_t height, std::int64_t width,
               Resampling resampling) {
  switch (resampling) {
    case Resampling::kBilinear:
      return io::resize_bilinear(picture, height, width);
    case Resampling::kBicubic:
      return io::resize_bicubic(picture, height, width);
    case Resampling::kLanczos:
      return io::resize_lanczos(picture, height, width);
    case Resampling::kArea:
      break;
  }
  return io::resize_area(picture.to(torch::kFloat32), height, width);
}

/// The longer side as the reference rounds it: transformers and torchvision cut off, and averages
/// of areas, which only our own towers take, are to the nearest.
std::int64_t scaled(std::int64_t length, std::int64_t shorter, const PictureInput& input) {
  const auto target = input.resized_to > 0 ? input.resized_to : input.side;
  const auto half = input.resampling == Resampling::kArea ? shorter / 2 : 0;
  return (length * target + half) / shorter;
}

Tensor middle_of(const Tensor& picture, const PictureInput& input) {
  const auto height = picture.size(0), width = picture.size(1);
  const auto shorter = std::min(height, width);
  const auto fit = resized(picture, scaled(height, shorter, input), scaled(width, shorter, input),
                           input.resampling);
  const auto top = (fit.size(0) - input.side) / 2, left = (fit.size(1) - input.side) / 2;
  return fit.slice(0, top, top + input.side).slice(1, left, left + input.side);
}

/// A size as the versions of transformers have written it: 224, {"shortest_edge": 224}, or
/// {"height": 224, "width": 224}.
std::int64_t size_in(const Json& config, const char* key, std::int64_t fallback) {
  const auto found = config.find(key);
  if (found == config.end() || found->is_null()) return fallback;
  std::int64_t size = 0;
  if (!found->is_object()) {
    size = json_required<std::int64_t>(config, key);
  } else if (found->contains("shortest_edge")) {
    size = json_required<std::int64_t>(*found, "shortest_edge");
  } else {
    size = json_required<std::int64_t>(*found, "height");
    if (json_required<std::int64_t>(*found, "width") != size) size = 0;
  }
  if (size >= 1 && size <= 4096) return size;
  throw Error(ErrorKind::kFormat, fmt::format("\"{}\" is {}, expected one side of 1 to 4096 pixels",
                                              key, quoted(*found)));
}

Resampling resampling_in(const Json& config, Resampling fallback) {
  if (!config.contains("resample")) return fallback;
  switch (json_required<std::int64_t>(config, "resample")) {  // Pillow's numbers
    case 1:
      return Resampling::kLanczos;
    case 2:
      return Resampling::kBilinear;
    case 3:
      return Resampling::kBicubic;
    default:
      throw Error(ErrorKind::kFormat,
                  fmt::format("\"resample\" is {}, expected 1 (Lanczos), 2 (bilinear) or 3 "
                              "(bicubic)",
                              quoted(config.at("resample"))));
  }
}

Channels channels_in(const Json& config, const char* key, const Channels& fallback) {
  if (!config.contains(key)) return fallback;
  const auto values = json_required<std::vector<double>>(config, key);
  Channels channels{};
  const bool fits = values.size() == channels.size();
  if (!fits) {
    throw Error(ErrorKind::kFormat,
                fmt::format("\"{}\" is {}, expected three numbers", key, quoted(config.at(key))));
  }
  std::copy(values.begin(), values.end(), channels.begin());
  return channels;
}

}  // namespace

PictureInput clip_input(std::int64_t side) { return {.side = side}; }

PictureInput dino_input(std::int64_t side) {
  return {.side = side,
          .resized_to = side * 256 / 224,
          .mean = {0.485, 0.456, 0.406},
          .deviation = {0.229, 0.224, 0.225}};
}

PictureInput input_of_folder(const std::filesystem::path& folder, PictureInput input) {
  const auto path = folder / "preprocessor_config.json";
  if (!std::filesystem::exists(path)) return input;
  const auto config = read_json_file(path);
  if (!config.is_object()) throw Error(ErrorKind::kFormat, path.string() + " is no JSON object");
  const auto side = input.side;
  try {
    input.cuts_middle = json_value(config, "do_center_crop", config.contains("crop_size"));
    input.resized_to = size_in(config, "size", side);
    const auto seen = input.cuts_middle ? size_in(config, "crop_size", side) : input.resized_to;
    if (seen != side || input.resized_to < side) {
      throw Error(ErrorKind::kFormat,
                  fmt::format("pictures become {} pixels wide, but the tower sees {}", seen, side));
    }
    input.resampling = resampling_in(config, input.resampling);
    input.mean = channels_in(config, "image_mean", input.mean);
    input.deviation = channels_in(config, "image_std", input.deviation);
  } catch (const Error& error) {
    throw Error(error.kind(), fmt::format("{}: {}", path.string(), error.what()));
  }
  if (std::any_of(input.deviation.begin(), input.deviation.end(),
                  [](double d) { return d <= 0; })) {
    throw Error(ErrorKind::kFormat, path.string() + ": \"image_std\" must be above 0");
  }
  return input;
}

Tensor tower_pixels(const Tensor& picture, const PictureInput& input) {
  refuse_lines(picture);
  const auto whole = picture.contiguous();
  const auto fit = input.cuts_middle ? middle_of(whole, input)
                                     : resized(whole, input.side, input.side, input.resampling);
  const auto channel = [](const Channels& values) {
    return torch::tensor(at::ArrayRef<double>(values), torch::kFloat32).view({3, 1, 1});
  };
  const auto pixels = fit.to(torch::kFloat32).permute({2, 0, 1}) / 255.0;
  return (pixels - channel(input.mean)) / channel(input.deviation);
}

}  // namespace mos::eval
