#include "mos/studio/projects.h"

#include "mos/studio/job.h"

namespace mos::studio {

Projects::Projects(Database& database) : database_(database) {
  database_.execute(
      "CREATE TABLE IF NOT EXISTS projects (id INTEGER PRIMARY KEY AUTOINCREMENT,"
      " title TEXT NOT NULL, changed TEXT NOT NULL, content TEXT NOT NULL)");
}

std::vector<Project> Projects::list() {
  Statement select(database_,
                   "SELECT id, title, changed FROM projects ORDER BY changed DESC, id DESC");
  std::vector<Project> projects;
  while (select.step()) {
    projects.push_back(
        {.id = select.integer(0), .title = select.text(1), .changed = select.text(2)});
  }
  return projects;
}

std::optional<Project> Projects::find(std::int64_t id) {
  Statement select(database_, "SELECT title, changed, content FROM projects WHERE id = ?");
  select.bind(id);
  if (!select.step()) return std::nullopt;
  return Project{id, select.text(0), select.text(1), parse_json(select.text(2), "the database")};
}

Project Projects::save(Project project) {
  project.changed = timestamp();
  const auto content = json_text(project.content);
  if (project.id == 0) {
    Statement insert(database_, "INSERT INTO projects (title, changed, content) VALUES (?, ?, ?)");
    insert.bind(project.title).bind(project.changed).bind(content).run();
    project.id = database_.last_id();
  } else {
    Statement update(database_,
                     "UPDATE projects SET title = ?, changed = ?, content = ? WHERE id = ?");
    update.bind(project.title).bind(project.changed).bind(content).bind(project.id).run();
  }
  return project;
}

void Projects::remove(std::int64_t id) {
  Statement(database_, "DELETE FROM projects WHERE id = ?").bind(id).run();
}

}  // namespace mos::studio
