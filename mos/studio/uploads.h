#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "mos/studio/parts.h"

/// Files that come in: they lie in a place of their own until the readers of mos have taken them.
namespace mos::studio {

struct ReceivedPicture {
  std::int64_t width = 0, height = 0;
};

struct UploadOptions {
  std::int64_t most = kMostPictureBytes;
  std::string name = "the picture";  ///< What messages call it: the name that its owner knows.
};

/// A body in a file of its own, gone with its object unless it was put in its place.
class Upload {
 public:
  /// Streams the body of `call` into the folder. Throws as body_to_file does.
  Upload(const Parts& parts, const Call& call, UploadOptions options);
  /// Of `bytes`, which came in another form; `name` as in UploadOptions.
  Upload(const Parts& parts, const std::string& bytes, const std::string& name);
  ~Upload();
  Upload(const Upload&) = delete;
  Upload& operator=(const Upload&) = delete;

  /// What the reader says to {"do": `what`, "file": …}. Throws as Reader::ask does; messages have
  /// its name for the place where it lies.
  Json ask(const std::string& what, const Json& more = Json::object()) const;
  /// Reads it as a picture. Throws Error(kFormat).
  ReceivedPicture check_picture() const;
  /// Reads it as the mask of `picture`, of its size, as tuning does. Throws Error(kFormat).
  ReceivedPicture check_mask(const std::string& picture) const;
  /// Moves it to `relative` and gives the name that it has now (StudioFolder::place).
  std::string place(const std::string& relative, IfTaken if_taken);

 private:
  /// Calls `write` with where it is to lie, and leaves nothing there when that fails.
  void write_by(const std::function<void(const std::filesystem::path&)>& write);

  const Parts& parts_;
  std::string path_, name_;
};

/// What `reader` says to `request`, with `name` in messages where they have the file's own path.
Json ask_naming(Reader& reader, const Json& request, const std::string& name);

/// Throws Refused(400) unless `name` is a file's, Refused(415) unless it ends as a picture's does.
void check_picture_name(const std::string& name);

}  // namespace mos::studio
