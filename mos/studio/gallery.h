#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "mos/studio/database.h"
#include "mos/studio/job.h"
#include "mos/studio/studio_folder.h"

/// Pictures in gallery/, with what was painted in the database so that it can be searched.
namespace mos::studio {

struct Picture {
  std::int64_t id = 0;
  std::string path;  ///< "gallery/12.png"
  std::optional<std::int64_t> job;
  std::string created;
  std::int64_t width = 0, height = 0;
  std::string prompt;    ///< Of the context and all regions.
  std::string concepts;  ///< The names of those that were put onto its model, with blanks between.
  std::optional<std::int64_t> seed;
  bool starred = false;
  std::string note;
};

Json to_json(const Picture& picture);

struct PictureFilter {
  std::string search;  ///< Words; each stands in the prompt, the concepts, the note or the path.
  bool starred = false;
  std::int64_t before = 0;
  std::int64_t limit = 100;
};

class Gallery {
 public:
  /// Takes in pictures that lie there and are not known: of a server that ended, or put there. What
  /// is in them is not read before read_next().
  Gallery(Database& database, const StudioFolder& folder);

  /// The picture at `path`; its fields are those of `record`, as the reader gives it, or of the one
  /// beside it, NAME.json, if there is one.
  std::optional<Picture> add(const std::string& path, std::optional<std::int64_t> job,
                             Json record = nullptr);
  /// Reads the record of one picture that was taken in by itself with `read`, which gives null
  /// where there is none; its id, or nothing when all are read.
  std::optional<std::int64_t> read_next(const std::function<Json(const std::string& path)>& read);
  /// All pictures of gallery/ that it has made.
  std::vector<Picture> add_results(const Job& job);

  std::optional<Picture> find(std::int64_t id);
  std::vector<Picture> list(const PictureFilter& filter);
  std::int64_t count(const PictureFilter& filter);
  void save(const Picture& picture);
  /// Moves it and its record to trash/, and says where they are (trash.h).
  Json discard(const Picture& picture);
  /// Takes a picture in again that was moved back to `path`, as it was when it came to `trash`;
  /// nothing for a file that is no picture.
  std::optional<Picture> restore(const std::string& path, const std::string& trash);

 private:
  Json record_beside(const std::string& path) const;
  void take_in_all();

  Database& database_;
  const StudioFolder& folder_;
};

}  // namespace mos::studio
