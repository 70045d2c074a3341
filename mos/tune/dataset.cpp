#include "mos/tune/dataset.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <map>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/base/json.h"
#include "mos/base/text.h"
#include "mos/base/text_distance.h"
#include "mos/io/image.h"

namespace mos::tune {

namespace fs = std::filesystem;
using torch::Tensor;

namespace {

constexpr std::int64_t kSmallestSide = 16;  // pixels; less cannot show a concept
constexpr int kMaskThreshold = 127;         // brighter is subject

bool is_picture(const fs::path& path) {
  auto ending = path.extension().string();
  std::transform(ending.begin(), ending.end(), ending.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return ending == ".png" || ending == ".jpg" || ending == ".jpeg" || ending == ".webp";
}

/// Visible files of `folder` by name without ending, sorted; none if the folder is not there.
std::multimap<std::string, fs::path> files_by_name(const fs::path& folder) {
  std::multimap<std::string, fs::path> files;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const auto& path = entry.path();
    if (entry.is_regular_file() && path.filename().string().front() != '.') {
      files.emplace(path.stem().string(), path);
    }
  }
  return files;
}

/// Reads a folder and collects what is wrong with it.
class DatasetReader {
 public:
  DatasetReader(fs::path folder, const DatasetOptions& options)
      : folder_(std::move(folder)), options_(options) {}

  ConceptDataset read() {
    std::error_code error;
    if (!fs::is_directory(folder_, error)) {
      throw Error(ErrorKind::kIo,
                  fmt::format("there is no folder {}; expected one with images/ and, if you have "
                              "them, masks/ and captions/",
                              folder_.string()));
    }
    dataset_.folder = folder_;
    attempt(folder_ / "concept.json", [&] { read_description(); });
    read_pictures();
    if (options_.use_masks)
      match("masks", [&](auto& picture, auto& path) { read_mask(picture, path); });
    if (options_.use_captions) {
      match("captions", [&](auto& picture, auto& path) { read_caption(picture, path); });
    }
    return std::move(dataset_);
  }

  std::vector<std::string> take_problems() { return std::move(problems_); }

 private:
  void problem(const fs::path& path, const std::string& what) {
    problems_.push_back(fmt::format("{}: {}", path.lexically_relative(folder_).string(), what));
  }

  /// Runs `work`; a failure becomes a problem of `path`.
  template <class Work>
  void attempt(const fs::path& path, Work work) {
    try {
      work();
    } catch (const Error& failure) {
      problem(path, failure.what());
    }
  }

  void read_description() {
    const auto path = folder_ / "concept.json";
    if (!fs::exists(path)) return;
    const auto json = read_json_file(path);
    if (!json.is_object()) {
      problem(path, "is not a JSON object");
      return;
    }
    dataset_.words = json_value<std::vector<std::string>>(json, "words", {});
    dataset_.class_word = json_value<std::string>(json, "class_word", "");
    dataset_.templates = json_value<std::string>(json, "templates", "");
    caption_ = json_value<std::string>(json, "caption", std::string(kPlaceholder));
  }

  void read_pictures() {
    const bool has_images = fs::is_directory(folder_ / "images");
    const auto images = has_images ? folder_ / "images" : folder_;
    for (const auto& [name, path] : files_by_name(images)) {
      if (!is_picture(path)) {
        if (has_images) problem(path, "is no picture; expected .png, .jpg or .webp");
        continue;
      }
      if (!dataset_.pictures.empty() && dataset_.pictures.back().name == name) {
        problem(path, "has the same name as another picture");
        continue;
      }
      attempt(path, [&] { read_picture(name, path); });
    }
    if (dataset_.pictures.empty() && problems_.empty()) {
      problems_.push_back(fmt::format("{}: holds no pictures", images.string()));
    }
  }

  void read_picture(const std::string& name, const fs::path& path) {
    auto pixels = io::to_rgb(io::read_image(path).pixels);
    if (std::min(pixels.size(0), pixels.size(1)) < kSmallestSide) {
      problem(path, fmt::format("is only {}x{} pixels, expected at least {} on each side",
                                pixels.size(1), pixels.size(0), kSmallestSide));
      return;
    }
    dataset_.pictures.push_back({name, std::move(pixels), {}, {caption_, false}});
  }

  /// Calls `use` for every file of a subfolder with the picture of its name.
  template <class Use>
  void match(const char* subfolder, Use use) {
    for (const auto& [name, path] : files_by_name(folder_ / subfolder)) {
      const auto& wanted = name;
      const auto picture =
          std::find_if(dataset_.pictures.begin(), dataset_.pictures.end(),
                       [&](const TrainingPicture& other) { return other.name == wanted; });
      if (picture == dataset_.pictures.end()) {
        problem(path, "belongs to no picture" + did_you_mean(name, picture_names()));
      } else {
        const auto& file = path;
        attempt(file, [&] { use(*picture, file); });
      }
    }
  }

  std::vector<std::string> picture_names() const {
    std::vector<std::string> names;
    for (const auto& picture : dataset_.pictures) names.push_back(picture.name);
    return names;
  }

  void read_mask(TrainingPicture& picture, const fs::path& path) {
    const auto image = io::read_image(path).pixels;
    if (image.size(0) != picture.pixels.size(0) || image.size(1) != picture.pixels.size(1)) {
      problem(path, fmt::format("is {}x{} pixels, but its picture is {}x{}", image.size(1),
                                image.size(0), picture.pixels.size(1), picture.pixels.size(0)));
      return;
    }
    const auto mask = mask_of(image, path);
    if (!mask.defined()) return;
    if ((mask > kMaskThreshold).any().item<bool>()) {
      picture.mask = mask;
    } else {
      problem(path, "selects nothing: no pixel is white");
    }
  }

  /// uint8 [H,W]; undefined after reporting a mask with colours.
  Tensor mask_of(const Tensor& image, const fs::path& path) {
    if (image.size(2) == 1) return image.select(2, 0).contiguous();
    const auto colour = image.narrow(2, 0, 3);
    const bool grey = (colour == colour.narrow(2, 0, 1)).all().item<bool>();
    if (!grey) {
      problem(path, "is a colour picture; expected a mask in black and white");
      return {};
    }
    auto mask = colour.select(2, 0).contiguous();
    if (image.size(2) == 4) mask = torch::minimum(mask, image.select(2, 3));
    return mask;
  }

  void read_caption(TrainingPicture& picture, const fs::path& path) {
    const auto text = read_text_file(path);
    const auto line = with_placeholder(text.substr(0, text.find('\n')));
    if (line.empty()) {
      problem(path, "is empty; expected one line of text");
    } else {
      picture.caption = {line, true};
    }
  }

  /// `caption` with the placeholder instead of the words of concept.json.
  std::string with_placeholder(const std::string& caption) const {
    auto text = fill_placeholder(caption, kPlaceholder);
    const auto phrase = fmt::format("{}", fmt::join(dataset_.words, " "));
    return phrase.empty() ? text : replaced(std::move(text), phrase, kPlaceholder);
  }

  fs::path folder_;
  DatasetOptions options_;
  ConceptDataset dataset_;
  std::string caption_ = std::string(kPlaceholder);
  std::vector<std::string> problems_;
};

}  // namespace

bool ConceptDataset::has_masks() const {
  return std::any_of(pictures.begin(), pictures.end(),
                     [](const TrainingPicture& picture) { return picture.mask.defined(); });
}

std::vector<std::string> check_dataset(const fs::path& folder, const DatasetOptions& options) {
  DatasetReader reader(folder, options);
  reader.read();
  return reader.take_problems();
}

ConceptDataset load_dataset(const fs::path& folder, const DatasetOptions& options) {
  DatasetReader reader(folder, options);
  auto dataset = reader.read();
  const auto problems = reader.take_problems();
  if (!problems.empty()) {
    throw Error(ErrorKind::kFormat, fmt::format("the pictures in {} cannot be used: {}",
                                                folder.string(), fmt::join(problems, "; ")));
  }
  return dataset;
}

}  // namespace mos::tune
