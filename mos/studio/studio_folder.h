#pragma once

#include <filesystem>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

/// The folder that a studio serves, and the one way from a path in a request to a file.
namespace mos::studio {

/// What a job or a request may do with a path.
enum class Access { kRead, kWrite };

/// What becomes of a file whose place is taken.
enum class IfTaken {
  kOtherName,  ///< It gets the name that free_name() gives.
  kRefuse,     ///< Refused(409).
  kDiscard,    ///< What was there goes to trash/.
  kReplace,
};

class StudioFolder {
 public:
  /// Makes the folder and those in it. Throws kIo.
  explicit StudioFolder(const std::filesystem::path& root);

  const std::filesystem::path& root() const { return root_; }

  /// Where `relative` ("gallery/a.png") is. Throws Refused(400) for a path that leads out:
  /// absolute, with "..", hidden names or control characters, through a link (but for those
  /// directly in models/), into no folder of the studio, or, to write, into models/.
  std::filesystem::path inside(std::string_view relative, Access access = Access::kRead) const;

  /// As a request has it.
  std::string relative(const std::filesystem::path& path) const;

  /// `relative` itself if nothing is there, else with a number before its ending: a-2.png.
  /// `is_taken` knows of names that are not free either.
  std::string free_name(const std::string& relative,
                        const std::function<bool(const std::string&)>& is_taken = {}) const;

  /// Moves the file `from` to `relative` and gives the name that it has now. Of two that come at
  /// once each is the first or the second: none takes the place of the other unseen.
  std::string place(const std::filesystem::path& from, const std::string& relative,
                    IfTaken if_taken) const;

  /// Moves a file or folder into trash/ under a name of its own, which it gives, and takes the
  /// thumbnails of what is in it away. Nothing happens, and "" comes, where nothing is.
  std::string discard(const std::string& relative) const;

  /// Where thumbnails are, hidden: no path of a request leads here.
  static constexpr const char* kThumbnails = ".thumbnails";
  /// The place of the thumbnail of the picture at `relative`.
  static std::string thumbnail_of(const std::string& relative);

 private:
  bool is_there(const std::string& relative) const;
  /// The same under the lock.
  std::string discard_now(const std::string& relative) const;

  std::filesystem::path root_;
  mutable std::mutex naming_;  ///< From looking for a name to having it.
};

/// Throws Refused(400) unless `name` is one of a file: up to 120 bytes of UTF-8 without slashes,
/// control characters, a dot at its beginning or blanks around it. `what` is what messages call it.
void check_name(const std::string& what, std::string_view name);

/// Its type by its ending, for browsers.
std::string content_type(const std::filesystem::path& path);

}  // namespace mos::studio
