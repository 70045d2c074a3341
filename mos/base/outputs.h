#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "mos/base/directory.h"
#include "mos/base/file.h"

namespace mos {

/// A file that a command will write.
struct FileOutput {
  std::string name;  ///< What the command line calls it: "--out", "the record beside --out".
  std::filesystem::path path;
  FileKind kind;
  Existing existing = Existing::kReplace;
  bool makes_folder = false;  ///< Its folder need not be there.
  /// Never in a folder that is read: a picture there would be an input of the next command.
  bool outside_inputs = false;
};

/// A folder that a command will write as a whole (AtomicDirectory).
struct FolderOutput {
  std::string name;
  std::filesystem::path path;
  Existing existing = Existing::kRefuse;
  FolderCheck may_replace;
};

/// All that one command reads and writes, by name. Each command names everything, records and
/// reports included, and calls check() before its work: then nothing of the user's is lost to a
/// name, and what cannot be written shows at once.
class Outputs {
 public:
  /// A file or folder that is read; an empty path is none.
  void read(const std::string& name, const std::filesystem::path& path);
  void write(FileOutput file);
  void write(FolderOutput folder);

  /// Throws kUsage when an output would take the place of an input or of another output, lie in a
  /// folder that is written as a whole, or replace what is of another kind; kIo when it cannot be
  /// written. Places are compared behind links, and by what is there. Clears what processes that
  /// are gone have left where something will be written.
  void check() const;

 private:
  struct Named {
    std::string name;
    std::filesystem::path path;
  };

  void check_places() const;
  void check_folders() const;
  void check_inputs() const;

  std::vector<Named> inputs_;
  std::vector<FileOutput> files_;
  std::vector<FolderOutput> folders_;
};

}  // namespace mos
