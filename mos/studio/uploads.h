#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "mos/studio/parts.h"

/// Files that come in: they lie in a place of their own until the readers of mos have taken them.
namespace mos::studio {

struct ReceivedPicture {
  std::int64_t width = 0, height = 0;
};

/// A body in a file of its own, gone with its object unless it was put in its place.
class Upload {
 public:
  /// Streams the body of `call` into the folder. Throws as body_to_file does.
  Upload(const Parts& parts, const Call& call, std::int64_t most);
  ~Upload();
  Upload(const Upload&) = delete;
  Upload& operator=(const Upload&) = delete;

  /// Relative to the folder.
  const std::string& path() const { return path_; }
  /// Reads it as a picture, of the size of `like`, unless that is empty. Throws Error(kFormat).
  ReceivedPicture check_picture(const std::string& like = "") const;
  /// Moves it to `relative`, over what is there.
  void place(const std::string& relative);

 private:
  const Parts& parts_;
  std::string path_;
};

/// Throws Refused(400) unless the name ends as one of a picture does (or a PNG alone).
void check_picture_name(const std::string& name);
void check_png_name(const std::string& name);

}  // namespace mos::studio
