#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "mos/base/json.h"
#include "mos/studio/database.h"

/// What a page wants to find again: scenes with their layers, half-filled forms.
namespace mos::studio {

struct Project {
  std::int64_t id = 0;
  std::string title, changed;
  Json content;
};

class Projects {
 public:
  explicit Projects(Database& database);

  std::vector<Project> list();  ///< Without contents, the latest changed first.
  std::optional<Project> find(std::int64_t id);
  /// A new one where the id is 0. Returns it as it stands now.
  Project save(Project project);
  void remove(std::int64_t id);

 private:
  Database& database_;
};

}  // namespace mos::studio
