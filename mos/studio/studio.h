#pragma once

#include <string>
#include <vector>

#include "mos/base/describe.h"

/// The studio: a folder served to the person in front of this machine.
namespace mos::studio {

struct StudioOptions {
  std::int64_t port = 7860;
  std::string host = "127.0.0.1";
  std::string folder;  ///< Empty: ~/mixofshow.
  std::vector<std::string> base;
  std::vector<std::string> concept_files;
  std::string scene;
  bool open = false;
  std::string ui_dir;
};

template <class Visitor>
void describe(Visitor& visit, StudioOptions& options) {
  visit("port", options.port, "where it listens; 0: any that is free", between(0, 65535));
  visit("host", options.host,
        "address that it listens on; any but 127.0.0.1 asks for a token, which is printed");
  visit("folder", options.folder,
        "where pictures, concepts and models lie (empty: ~/mixofshow); made if it is not there",
        a_path());
  visit("base", options.base, "base models to work with: links to them are put into models/",
        a_path());
  visit("concept", options.concept_files, "concept files to have there: they are copied", a_path());
  visit("scene", options.scene,
        "a scene to open in Compose, as mos sample reads it (docs/regions.md)", a_path());
  visit("open", options.open, "open it in the browser");
  visit("ui_dir", options.ui_dir, "folder with another index.html, for those who develop it",
        a_path());
}

/// Serves until SIGINT or SIGTERM. Prints where on stdout. Running jobs go on without it.
/// Throws kUsage for a port that is taken or a folder that another studio serves, kIo.
void run(const StudioOptions& options);

}  // namespace mos::studio
