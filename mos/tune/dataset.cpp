#include "mos/tune/dataset.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "mos/base/counted.h"
#include "mos/base/error.h"
#include "mos/base/json.h"
#include "mos/base/text.h"
#include "mos/base/text_distance.h"
#include "mos/io/image.h"
#include "mos/tune/mask.h"

namespace mos::tune {

namespace fs = std::filesystem;
using torch::Tensor;

namespace {

constexpr std::int64_t kSmallestSide = 16;  // pixels; less cannot show a concept

/// Words in a list or in one text.
std::vector<std::string> words_of(const Json& description) {
  const auto found = description.find("words");
  if (found == description.end() || !found->is_string()) {
    return separate_words(json_value<std::vector<std::string>>(description, "words", {}));
  }
  return separate_words({found->get<std::string>()});
}

/// Reads a folder and collects what is wrong with it.
class DatasetReader {
 public:
  DatasetReader(fs::path folder, const DatasetOptions& options)
      : folder_(std::move(folder)), options_(options) {}

  DatasetCheck read() {
    auto found = find_pictures(folder_, options_);
    problems_ = std::move(found.problems);
    dataset_.folder = folder_;
    dataset_.phrase = found.phrase;
    dataset_.warnings = std::move(found.warnings);
    attempt(folder_ / "concept.json", [&] { read_description(); });
    for (const auto& files : found.pictures) {
      attempt(files.picture, [&] { read_picture(files); });
    }
    make_coprime();
    report_other_lines();
    return {std::move(dataset_), std::move(problems_)};
  }

 private:
  void problem(const fs::path& path, const std::string& what) {
    problems_.push_back(fmt::format("{}: {}", name_within(folder_, path), what));
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
    if (const auto fault = file_fault(path); !fault.empty()) return problem(path, fault);
    const auto json = read_json_file(path);
    if (!json.is_object()) {
      problem(path, "is not a JSON object");
      return;
    }
    const std::vector<std::string> known = {"words", "class_word", "templates", "caption",
                                            "name",  "category",   "style"};
    for (const auto& [key, value] : json.items()) {
      if (std::find(known.begin(), known.end(), key) != known.end()) continue;
      dataset_.warnings.push_back(
          fmt::format("concept.json: \"{}\" means nothing here{}", key, did_you_mean(key, known)));
    }
    dataset_.words = words_of(json);
    dataset_.class_word = json_value<std::string>(json, "class_word", "");
    read_templates(path, json);
    caption_ = json_value<std::string>(json, "caption", std::string(kPlaceholder));
  }

  void read_templates(const fs::path& path, const Json& json) {
    const auto name = json_value<std::string>(json, "templates", "");
    dataset_.templates = choice_named<Templates>(name);
    if (name.empty() || dataset_.templates) return;
    const auto names = names_of_choices<Templates>();
    problem(path, fmt::format("\"templates\" is \"{}\", expected one of {}{}", name,
                              fmt::join(names, ", "), did_you_mean(name, names)));
  }

  void read_picture(const PictureFiles& files) {
    TrainingPicture picture{.name = files.name,
                            .pixels = io::to_rgb(io::read_image(files.picture).pixels),
                            .mask = {},
                            .caption = {.text = caption_},
                            .repeats = files.repeats};
    const auto height = picture.pixels.size(0), width = picture.pixels.size(1);
    if (std::min(height, width) < kSmallestSide) {
      problem(files.picture, fmt::format("is only {}x{} pixels, expected at least {} on each side",
                                         width, height, kSmallestSide));
    }
    if (!files.mask.empty()) {
      attempt(files.mask, [&] { read_mask(picture, files.mask); });
    }
    if (!files.caption.empty()) {
      attempt(files.caption, [&] { read_caption(picture, files.caption); });
    }
    dataset_.pictures.push_back(std::move(picture));
  }

  void read_mask(TrainingPicture& picture, const fs::path& path) {
    auto read =
        mask_of_image(io::read_image(path).pixels, picture.pixels.size(0), picture.pixels.size(1));
    picture.mask = std::move(read.mask);
    if (!read.problem.empty()) problem(path, read.problem);
  }

  void read_caption(TrainingPicture& picture, const fs::path& path) {
    auto lines = read_caption_lines(path);
    if (lines.size() > 1 && options_.caption_lines == CaptionLines::kFirst) {
      with_other_lines_.push_back(name_within(folder_, path));
      lines.resize(1);
    } else if (options_.caption_lines == CaptionLines::kAll) {
      lines = {fmt::format("{}", fmt::join(lines, " "))};
    }
    for (auto& line : lines) line = with_placeholder(line);
    picture.caption = {lines.front(), true, {lines.begin() + 1, lines.end()}};
  }

  /// `caption` with the placeholder instead of the concept's words. What kohya calls the concept
  /// counts where it has no other name.
  std::string with_placeholder(const std::string& caption) const {
    const auto& words = options_.words.empty() ? dataset_.words : options_.words;
    auto text = fill_placeholder(caption, kPlaceholder);
    // The folder's own first: its captions may have them, whatever the concept is to be called.
    for (const auto* named : {&dataset_.words, &options_.words}) {
      if (named->empty()) continue;
      text = replaced(std::move(text), fmt::format("{}", fmt::join(*named, " ")), kPlaceholder);
    }
    if (dataset_.phrase.empty() || text.find(kPlaceholder) != text.npos) return text;
    auto renamed = replaced_word(text, dataset_.phrase, kPlaceholder);
    // Where it is one of the words itself, it belongs to those that stand there.
    const bool is_word = std::ranges::find(words, dataset_.phrase) != words.end();
    return are_named_in(is_word ? text : renamed, words) ? text : renamed;
  }

  /// Whether `caption` has all of these words, or one that is no ordinary word: then those that it
  /// lacks were forgotten, which is said where captions are checked.
  static bool are_named_in(const std::string& caption, const std::vector<std::string>& words) {
    const auto stands = [&](const std::string& word) { return has_word(caption, word); };
    const auto is_made_up = [](const std::string& word) { return word.starts_with('<'); };
    return !words.empty() && (std::ranges::all_of(words, stands) ||
                              std::ranges::any_of(words, [&](const std::string& word) {
                                return is_made_up(word) && stands(word);
                              }));
  }

  /// 10 and 10 times is once each, 10 and 5 times is twice and once.
  void make_coprime() {
    std::int64_t common = 0;
    for (const auto& picture : dataset_.pictures) common = std::gcd(common, picture.repeats);
    for (auto& picture : dataset_.pictures) picture.repeats /= common;
  }

  void report_other_lines() {
    if (with_other_lines_.empty()) return;
    dataset_.warnings.push_back(fmt::format(
        "of captions with several lines only the first is read: {}; --caption-lines any draws one "
        "each time, all joins them",
        listed(with_other_lines_)));
  }

  fs::path folder_;
  DatasetOptions options_;
  ConceptDataset dataset_;
  std::string caption_ = std::string(kPlaceholder);
  std::vector<std::string> with_other_lines_;  ///< Captions.
  std::vector<std::string> problems_;
};

template <class Counted>
std::int64_t count(const std::vector<TrainingPicture>& pictures, Counted counted) {
  return std::count_if(pictures.begin(), pictures.end(), counted);
}

}  // namespace

std::string ConceptDataset::summary() const {
  const auto masks = count(pictures, [](const auto& picture) { return picture.mask.defined(); });
  const auto captions =
      count(pictures, [](const auto& picture) { return picture.caption.from_file; });
  auto text = counted(pictures.size(), "picture");
  if (masks > 0) text += fmt::format(", {} with a mask", masks);
  if (captions > 0) text += fmt::format(", {} with a caption", captions);
  std::map<std::string, std::int64_t> repeats;  // by folder
  for (const auto& picture : pictures) {
    repeats[picture.name.substr(0, picture.name.find('/'))] = picture.repeats;
  }
  const bool differ = std::any_of(pictures.begin(), pictures.end(), [&](const auto& picture) {
    return picture.repeats != pictures.front().repeats;
  });
  if (differ) {
    for (const auto& [name, times] : repeats) text += fmt::format("; {}: {}x", name, times);
  }
  if (!phrase.empty()) text += fmt::format("; \"{}\" stands for the concept", phrase);
  return text;
}

DatasetCheck check_dataset(const fs::path& folder, const DatasetOptions& options) {
  return DatasetReader(folder, options).read();
}

ConceptDataset load_dataset(const fs::path& folder, const DatasetOptions& options) {
  auto [dataset, problems] = check_dataset(folder, options);
  if (!problems.empty()) {
    constexpr std::size_t kMostNamed = 20;
    throw Error(ErrorKind::kFormat,
                fmt::format("the pictures in {} cannot be used: {}", folder.string(),
                            listed(problems, kMostNamed, "; ")));
  }
  return std::move(dataset);
}

DatasetOptions dataset_options(const TuneOptions& options) {
  return {.use_masks = options.pictures.use_masks,
          .use_captions = options.captions.use_captions,
          .caption_lines = options.captions.lines,
          .words = separate_words(options.words.words)};
}

}  // namespace mos::tune
