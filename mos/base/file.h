#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "mos/base/temporary.h"

namespace mos {

/// All of a text file, 16 MB at most. Throws kIo.
std::string read_text_file(const std::filesystem::path& path);

/// All bytes of a file that is no text (a picture, an archive, weights), 1 GB at most. Throws kIo.
std::string read_whole_file(const std::filesystem::path& path);

/// Makes `folder` and those above it that are missing. Throws kIo.
void make_folders(const std::filesystem::path& folder);

/// What to do when an output is there already.
enum class Existing { kRefuse, kReplace };

/// What becomes of a complete result that cannot take its place.
enum class Unplaced {
  kKeepBeside,  ///< It is kept under a free name beside it: there is no other copy of the work.
  kDiscard,     ///< It goes: it will be written again, and each time would leave a copy.
};

/// A kind of file that is written. Only a file of the same kind, or one without bytes, is ever
/// replaced by one.
struct FileKind {
  std::string name;  ///< "a concept or a LoRA", for messages.
  /// Whether a file is one; what throws is none. Empty: every file is.
  std::function<bool(const std::filesystem::path&)> matches;
};

/// Whether a file of `kind` may take the place of what is at `path`, if anything is.
bool may_replace(const std::filesystem::path& path, const FileKind& kind);

/// What becomes of what is there, and of what is written if it cannot take its place.
struct FileRules {
  Existing existing = Existing::kReplace;
  FileKind kind = {};
  Unplaced unplaced = Unplaced::kKeepBeside;
};

/// Throws kUsage for a file that is there and to be refused, kIo for what no file replaces: a
/// folder, a device, what is mounted or write-protected. For before the work.
void check_file_target(const std::filesystem::path& path, Existing existing);

/// A file that appears under its name only when complete: bytes go to a temporary name in the same
/// folder and commit() renames it. Without commit the temporary file goes with the object. A file
/// that is replaced leaves its permissions and, where the system lets us, its owner to the new one;
/// the place may lie behind symbolic links, which stay.
/// Every member throws kIo with the reason of the system (unwritable folder, full disk).
class AtomicFile {
 public:
  /// Throws kIo also for devices. What else is in the way (a folder, a pipe, a file that is
  /// write-protected) is found by commit(), as the work is done by now.
  explicit AtomicFile(std::filesystem::path path, FileRules rules = {});

  void write(const void* data, std::size_t bytes);
  void write(std::string_view text) { write(text.data(), text.size()); }
  /// Throws kIo when it cannot take its place, for instance because something appeared there
  /// meanwhile; it then is complete beside it, where the message says, or gone (see Unplaced).
  void commit();

 private:
  [[noreturn]] void give_up(const std::string& reason);
  [[noreturn]] void fail(const char* action) const;

  std::filesystem::path path_;   ///< As it was asked for.
  std::filesystem::path place_;  ///< Behind its links.
  FileRules rules_;
  Temporary temporary_;
};

/// Writes `text` under `path` in one step. Throws kIo.
void write_text_file(const std::filesystem::path& path, std::string_view text,
                     const FileRules& rules = {});

}  // namespace mos
