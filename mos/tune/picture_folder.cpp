#include "mos/tune/picture_folder.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <iterator>
#include <map>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "mos/base/error.h"
#include "mos/base/folder.h"
#include "mos/base/text.h"
#include "mos/base/text_distance.h"
#include "mos/io/picture_name.h"

namespace mos::tune {

namespace fs = std::filesystem;

namespace {

using Names = std::span<const std::string_view>;

// Folders and endings, in lower case, the preferred one first. The singular folders are those of
// the authors, img is kohya's.
constexpr auto kImageFolders = std::to_array<std::string_view>({"images", "image", "img"});
constexpr auto kMaskFolders = std::to_array<std::string_view>({"masks", "mask"});
constexpr auto kCaptionFolders = std::to_array<std::string_view>({"captions", "caption"});
constexpr auto kCaptionEndings = std::to_array<std::string_view>({".txt", ".caption"});
constexpr auto kForeignPictureEndings = std::to_array<std::string_view>(
    {".bmp", ".gif", ".tif", ".tiff", ".avif", ".heic", ".heif", ".jxl"});

constexpr std::string_view kMaskSuffix = "-masklabel";       // OneTrainer's
constexpr std::string_view kConditionSuffix = "-condlabel";  // the same
constexpr const char* kDescription = "concept.json";
constexpr std::int64_t kMostRepeats = 10'000;

bool is_one_of(Names names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string ending_of(const fs::path& path) { return lower_ascii(path.extension().string()); }

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

/// `stem` without `suffix`, or nothing if it has none.
std::optional<std::string> without_suffix(std::string_view stem, std::string_view suffix) {
  if (!stem.ends_with(suffix)) return std::nullopt;
  return std::string(stem.substr(0, stem.size() - suffix.size()));
}

/// OneTrainer's further masks of a picture end in a digit.
bool is_further_mask(std::string_view stem) {
  if (stem.empty() || stem.back() < '0' || stem.back() > '9') return false;
  stem.remove_suffix(1);
  return stem.ends_with(kMaskSuffix);
}

/// Pictures that lie together: all of them, or a folder of kohya's.
struct Group {
  fs::path path;
  std::string prefix;  ///< Before the names of its pictures.
  std::int64_t repeats = 1;
  std::string phrase;
};

/// `10_sks bear` in its parts; nothing for other names.
std::optional<Group> repeated_group(const fs::path& path) {
  const auto name = path.filename().string();
  Group group{.path = path, .prefix = name + "/"};
  const auto* end = name.data() + name.size();
  const auto number = std::from_chars(name.data(), end, group.repeats);
  if (number.ec != std::errc() || number.ptr == end || *number.ptr != '_' || group.repeats < 0) {
    return std::nullopt;
  }
  group.phrase = trimmed(std::string_view(number.ptr + 1, end));
  return group;
}

class PictureFinder {
 public:
  PictureFinder(const fs::path& folder, const DatasetOptions& options)
      : folder_(folder), options_(options) {}

  PictureFolder find() {
    const auto images = subfolder(kImageFolders);
    masks_ = subfolder(kMaskFolders);
    captions_ = subfolder(kCaptionFolders);
    has_images_ = !images.empty();
    root_ = has_images_ ? images : folder_;
    if (has_images_) leave_others(folder_);
    const auto groups = find_groups();
    for (const auto& group : groups) read_group(group);
    if (options_.use_masks) attach_folder(masks_, &PictureFiles::mask);
    if (options_.use_captions) attach_folder(captions_, &PictureFiles::caption);
    attach_beside();
    take_phrase(groups);
    if (found_.pictures.empty() && found_.problems.empty()) report_empty();
    report_unread();
    std::sort(found_.pictures.begin(), found_.pictures.end(),
              [](const auto& a, const auto& b) { return a.name < b.name; });
    return std::move(found_);
  }

 private:
  std::string name_of(const fs::path& path) const { return name_within(folder_, path); }

  void problem(const fs::path& path, const std::string& what) {
    found_.problems.push_back(fmt::format("{}: {}", name_of(path), what));
  }

  void leave(const fs::path& path) { unread_.push_back(name_of(path)); }

  /// What has no place in `path`'s folder: wrong in a folder of pictures alone, else left.
  void refuse_or_leave(const fs::path& path, const std::string& what) {
    const bool strict = has_images_ && path.parent_path() == root_;
    strict ? problem(path, what) : leave(path);
  }

  /// The first of `names` that is there, empty without one.
  fs::path subfolder(Names names) {
    fs::path found;
    for (const auto name : names) {
      const auto path = folder_ / name;
      if (!is_folder(path)) continue;
      if (found.empty()) {
        found = path;
      } else {
        problem(path, fmt::format("means the same as {}; keep one of them", name_of(found)));
      }
    }
    return found;
  }

  /// Whether `path` has a meaning of its own in the folder.
  bool is_known(const fs::path& path) const {
    return path == root_ || path == masks_ || path == captions_ || path == folder_ / kDescription;
  }

  void leave_others(const fs::path& folder) {
    for (const auto& path : entries_of(folder)) {
      if (!is_known(path)) leave(path);
    }
  }

  std::vector<Group> find_groups() {
    std::vector<Group> groups;
    std::vector<fs::path> others;
    for (const auto& path : entries_of(root_)) {
      auto group = is_folder(path) ? repeated_group(path) : std::nullopt;
      if (group && group->repeats > kMostRepeats) {
        problem(path, fmt::format("repeats its pictures {} times, expected at most {}",
                                  group->repeats, kMostRepeats));
      } else if (group && group->repeats > 0) {
        groups.push_back(std::move(*group));
      } else if (!is_known(path)) {
        others.push_back(path);
      }
    }
    if (groups.empty()) return {{.path = root_}};
    for (const auto& path : others) leave(path);
    return groups;
  }

  void read_group(const Group& group) {
    for (const auto& path : entries_of(group.path)) {
      if (is_known(path)) continue;
      if (is_folder(path)) {
        leave(path);
      } else if (const auto fault = file_fault(path); !fault.empty()) {
        problem(path, fault);
      } else {
        read_file(group, path);
      }
    }
  }

  void read_file(const Group& group, const fs::path& path) {
    const auto ending = ending_of(path), stem = path.stem().string();
    if (is_one_of(kForeignPictureEndings, ending)) {
      problem(path, "is a picture of a kind that is not read; save it as PNG, JPEG or WebP");
    } else if (is_one_of(kCaptionEndings, ending)) {
      if (options_.use_captions) {
        beside_.push_back({path, group.prefix + stem, &PictureFiles::caption});
      }
    } else if (!io::is_picture_name(path)) {
      refuse_or_leave(path, "is no picture; expected .png, .jpg or .webp");
    } else if (const auto of = without_suffix(stem, kMaskSuffix)) {
      if (options_.use_masks) beside_.push_back({path, group.prefix + *of, &PictureFiles::mask});
    } else if (is_further_mask(stem) || stem.ends_with(kConditionSuffix)) {
      leave(path);
    } else {
      add_picture(group, path, stem);
    }
  }

  void add_picture(const Group& group, const fs::path& path, const std::string& stem) {
    const auto name = group.prefix + stem;
    if (!places_.emplace(name, found_.pictures.size()).second) {
      problem(path, "has the same name as another picture");
      return;
    }
    stems_.emplace(stem, found_.pictures.size());
    found_.pictures.push_back(
        {.name = name, .picture = path, .mask = {}, .caption = {}, .repeats = group.repeats});
  }

  /// Masks or captions in a folder of their own: the name alone says whose they are.
  void attach_folder(const fs::path& folder, fs::path PictureFiles::*part) {
    if (folder.empty()) return;
    const bool are_captions = part == &PictureFiles::caption;
    for (const auto& path : entries_of(folder)) {
      if (is_folder(path)) {
        leave(path);
        continue;
      }
      if (const auto fault = file_fault(path); !fault.empty()) {
        problem(path, fault);
        continue;
      }
      if (are_captions && !is_one_of(kCaptionEndings, ending_of(path))) {
        problem(path, "is no caption; expected .txt or .caption");
        continue;
      }
      const auto stem = path.stem().string();
      attach_by_stem(path, without_suffix(stem, kMaskSuffix).value_or(stem), part);
    }
  }

  void attach_by_stem(const fs::path& path, const std::string& stem, fs::path PictureFiles::*part) {
    const auto [first, last] = stems_.equal_range(stem);
    if (first == last) {
      std::vector<std::string> known;
      for (const auto& [name, place] : stems_) known.push_back(name);
      problem(path, "belongs to no picture" + did_you_mean(stem, known));
    } else if (std::next(first) != last) {
      problem(path, fmt::format("could belong to {} or {}; put it beside its picture",
                                found_.pictures[first->second].name,
                                found_.pictures[std::next(first)->second].name));
    } else {
      attach(path, found_.pictures[first->second], part);
    }
  }

  /// The first file for a part of a picture is read, others are said.
  void attach(const fs::path& path, PictureFiles& files, fs::path PictureFiles::*part) {
    if ((files.*part).empty()) {
      files.*part = path;
    } else {
      superseded_.push_back(name_of(path));
    }
  }

  void attach_beside() {
    // .txt before .caption, which has the larger place in the list of endings.
    const auto place = [](const Beside& file) {
      return std::find(kCaptionEndings.begin(), kCaptionEndings.end(), ending_of(file.path)) -
             kCaptionEndings.begin();
    };
    std::stable_sort(beside_.begin(), beside_.end(),
                     [&](const auto& a, const auto& b) { return place(a) < place(b); });
    for (const auto& [path, owner, part] : beside_) {
      if (const auto found = places_.find(owner); found != places_.end()) {
        attach(path, found_.pictures[found->second], part);
      } else if (part == &PictureFiles::mask) {
        problem(path, "belongs to no picture");
      } else {
        refuse_or_leave(path, "belongs to no picture");
      }
    }
  }

  void take_phrase(const std::vector<Group>& groups) {
    std::error_code ignored;
    const bool is_alone = groups.front().prefix.empty();
    const auto own = is_alone ? repeated_group(fs::weakly_canonical(root_, ignored)) : std::nullopt;
    found_.phrase = own ? own->phrase : groups.front().phrase;
    for (const auto& group : groups) {
      if (group.phrase != groups.front().phrase) found_.phrase.clear();
    }
  }

  void report_empty() {
    std::string hint;
    for (const auto& path : entries_of(root_)) {
      const auto group = is_folder(path) ? repeated_group(path) : std::nullopt;
      if (!group || group->repeats > 0) continue;
      hint = fmt::format("; {} repeats its pictures 0 times, which leaves them out", name_of(path));
    }
    for (const auto& path : entries_of(folder_)) {
      const auto group = repeated_group(path);
      if (!is_folder(path) || is_known(path) || (group && group->repeats == 0)) continue;
      const auto inside = entries_of(path);
      if (std::any_of(inside.begin(), inside.end(), io::is_picture_name)) {
        hint = fmt::format("; there are some in {}", path.string());
      }
    }
    found_.problems.push_back(fmt::format("{}: holds no pictures{}", root_.string(), hint));
  }

  void report_unread() {
    if (!unread_.empty()) {
      found_.warnings.push_back("not read: " + listed(unread_));
    }
    if (!superseded_.empty()) {
      found_.warnings.push_back("not read, since their pictures have another mask or caption: " +
                                listed(superseded_));
    }
  }

  /// A mask or caption in the folder of its picture, and the name of that picture.
  struct Beside {
    fs::path path;
    std::string owner;
    fs::path PictureFiles::*part;
  };

  const fs::path& folder_;
  const DatasetOptions& options_;
  fs::path root_;                                  ///< Where pictures or their folders lie.
  fs::path masks_, captions_;                      ///< Empty where there are none.
  bool has_images_ = false;                        ///< The root is a folder of its own.
  std::map<std::string, std::size_t> places_;      ///< Of pictures, by name.
  std::multimap<std::string, std::size_t> stems_;  ///< The same without the folder.
  std::vector<Beside> beside_;
  std::vector<std::string> unread_, superseded_;
  PictureFolder found_;
};

}  // namespace

std::string file_fault(const fs::path& path) {
  std::error_code ignored;
  const auto status = fs::status(path, ignored);
  if (status.type() == fs::file_type::not_found) return "is a link to nothing";
  // Reading a named pipe would wait for who writes into it.
  return fs::is_regular_file(status) ? "" : "is no file";
}

std::string name_within(const fs::path& folder, const fs::path& path) {
  return path.lexically_relative(folder).string();
}

PictureFolder find_pictures(const fs::path& folder, const DatasetOptions& options) {
  if (!is_folder(folder)) {
    throw Error(ErrorKind::kIo,
                fmt::format("there is no folder {}; expected one with images/ and, if you have "
                            "them, masks/ and captions/",
                            folder.string()));
  }
  return PictureFinder(folder, options).find();
}

}  // namespace mos::tune
