#pragma once

#include <filesystem>
#include <stop_token>
#include <string>

#include "mos/studio/database.h"
#include "mos/studio/events.h"
#include "mos/studio/forms.h"
#include "mos/studio/gallery.h"
#include "mos/studio/gate.h"
#include "mos/studio/projects.h"
#include "mos/studio/reader.h"
#include "mos/studio/router.h"
#include "mos/studio/runner.h"
#include "mos/studio/studio_folder.h"

/// All that handlers work on, and their tables of routes, one for each subject.
namespace mos::studio {

struct Parts {
  const StudioFolder& folder;
  Database& database;
  EventHub& events;
  Forms& forms;
  Reader& reader;
  Gallery& gallery;
  Projects& projects;
  Runner& runner;
  const Gate& gate;
  bool has_interface = false;
};

std::vector<Route> about_routes(Parts& parts);    ///< info, capabilities, models, login
std::vector<Route> job_routes(Parts& parts);      ///< jobs, queue, check
std::vector<Route> event_routes(Parts& parts);    ///< events, events/poll
std::vector<Route> concept_routes(Parts& parts);  ///< concepts and their pictures
std::vector<Route> file_routes(Parts& parts);     ///< concept files, uploads, files, thumbnails
std::vector<Route> gallery_routes(Parts& parts);  ///< gallery, pictures
std::vector<Route> project_routes(Parts& parts);
std::vector<Route> trash_routes(Parts& parts);  ///< what was deleted comes back
std::vector<Route> a1111_routes(Parts& parts);
std::vector<Route> openai_routes(Parts& parts);

/// All of the above.
Router make_router(Parts& parts);

/// What the reader finds in a picture of the folder; null: nothing.
Json record_of(const Parts& parts, const std::string& path);
/// Reads the pictures that the gallery has taken in by itself, and tells of them.
void read_records(Parts& parts, const std::stop_token& stop);

/// Base models and fused ones, {"path", "kind"}.
Json models_of(const StudioFolder& folder);
/// What stands in concept-files/, without their words.
std::vector<std::string> concept_files_of(const StudioFolder& folder);

}  // namespace mos::studio
