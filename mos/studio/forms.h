#pragma once

#include <filesystem>
#include <map>
#include <mutex>
#include <stop_token>
#include <string>
#include <vector>

#include "mos/base/json.h"
#include "mos/studio/database.h"
#include "mos/studio/reader.h"

/// The options of every kind of job, as `mos KIND --help json` gives them: what forms are made of
/// and requests are checked with. Asked for once for each build of mos and kept in the database.
namespace mos::studio {

/// "tune", "fuse" and so on: the commands that can be jobs.
const std::vector<std::string>& job_kinds();

/// Whether the command reads its options from a file (--config), or has flags alone.
bool takes_config(const std::string& kind);
/// Whether what it works on stands in `words`.
bool takes_words(const std::string& kind);

class Forms {
 public:
  Forms(std::filesystem::path mos, Database& database);

  /// The JSON Schema of the options that requests may give: without those that the studio sets
  /// itself, and those that would read paths out of files. Throws Refused(400) for another kind,
  /// kIo where mos does not answer.
  const Json& schema(const std::string& kind);
  /// Asks for all of them, so that nobody waits for an answer later.
  void warm_up(const std::stop_token& stop);
  /// {"tune": schema, …}
  Json all();
  /// {"fuse": {METHOD: [the options that it takes]}}
  const Json& methods(Reader& reader);
  /// What `mos sample --list-schedulers` prints.
  const std::string& schedulers();

 private:
  std::string ask(const std::vector<std::string>& arguments);

  std::filesystem::path mos_;
  Database& database_;
  std::mutex mutex_;
  std::map<std::string, Json> schemas_;  ///< All of them or none.
  Json methods_;
  std::string schedulers_;
};

}  // namespace mos::studio
