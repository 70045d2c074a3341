#include "mos/studio/studio.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <signal.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <system_error>
#include <thread>

#include "mos/base/file.h"
#include "mos/base/log.h"
#include "mos/studio/embedded.h"
#include "mos/studio/opening.h"
#include "mos/studio/parts.h"
#include "mos/studio/process.h"
#include "mos/studio/server.h"
#include "mos/studio/thumbnails.h"

namespace mos::studio {
namespace {

namespace fs = std::filesystem;

fs::path folder_of(const StudioOptions& options) {
  if (!options.folder.empty()) return options.folder;
  const char* home = std::getenv("HOME");
  if (home == nullptr || *home == '\0') {
    throw Error(ErrorKind::kUsage, "there is no home folder; say where with --folder");
  }
  return fs::path(home) / "mixofshow";
}

/// One studio for each folder: two would run every job twice.
class FolderLock {
 public:
  explicit FolderLock(const StudioFolder& folder) {
    constexpr int kMode = 0600;
    const auto file = folder.root() / ".lock";
    descriptor_ = open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, kMode);
    if (descriptor_ < 0) {
      throw Error(ErrorKind::kIo, fmt::format("cannot write to {}: {}", folder.root().string(),
                                              std::strerror(errno)));
    }
    if (flock(descriptor_, LOCK_EX | LOCK_NB) == 0) return;
    close(descriptor_);
    throw Error(ErrorKind::kUsage,
                fmt::format("another mos studio serves {} already", folder.root().string()));
  }
  ~FolderLock() { close(descriptor_); }
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int descriptor_ = -1;
};

/// What people give is looked at before it becomes part of the folder.
PlaceCheck check_by(Reader& reader, const std::string& what) {
  return [&reader, what](const fs::path& place) {
    const auto found = reader.ask({{"do", what}, {"file", place.string()}});
    if (what != "model" || found.value("kind", "") == "base") return;
    throw Error(ErrorKind::kUsage,
                fmt::format("--base {}: this is an adapter, expected a model; put "
                            "adapters into adapters/ of the studio's folder",
                            place.string()));
  };
}

void check_ui_folder(const std::string& folder) {
  std::error_code ignored;
  if (folder.empty() || fs::is_regular_file(fs::path(folder) / "index.html", ignored)) return;
  throw Error(ErrorKind::kIo,
              fmt::format("--ui-dir is {}, where no index.html is: npm run build in studio/ makes "
                          "one in studio/dist",
                          folder));
}

/// Pictures that jobs have painted come into the gallery.
void take_in(Gallery& gallery, EventHub& events, const Job& job) {
  Json ids = Json::array();
  for (const auto& picture : gallery.add_results(job)) ids.push_back(picture.id);
  if (!ids.empty()) events.tell("gallery", {{"added", ids}});
  if (job.order.kind == "tune" || job.order.kind == "fuse") events.tell("files", Json::object());
}

/// Blocks the signals that end a server in this thread and those that it starts from now on.
sigset_t block_endings() {
  sigset_t endings;
  sigemptyset(&endings);
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&endings, number);
  pthread_sigmask(SIG_BLOCK, &endings, nullptr);
  signal(SIGPIPE, SIG_IGN);
  return endings;
}

void open_browser(const std::string& address) {
  std::thread([address] {
    try {
      (void)run_captured({"/usr/bin/xdg-open", address}, "/", std::chrono::seconds(30));
    } catch (const std::exception& error) {
      log::warn(error.what());
    }
  }).detach();
}

/// mos is asked for its options while the browser opens, and then what is in pictures that were put
/// into the gallery meanwhile.
std::jthread warm_up(Parts& parts) {
  return std::jthread([&parts](const std::stop_token& stop) {
    try {
      parts.forms.warm_up(stop);
      read_records(parts, stop);
    } catch (const std::exception& error) {  // whoever asks later hears it too
      log::warn(error.what());
    }
  });
}

void say_start(const Parts& parts, const std::string& address) {
  fmt::print("{}\n", address);
  std::fflush(stdout);
  log::info(fmt::format("mos studio serves {}; Ctrl-C ends it, jobs go on",
                        parts.folder.root().string()));
  if (!parts.has_interface) {
    log::info(fmt::format("the interface was left out of this build: {}; the API works",
                          interface_absence()));
  }
  for (const auto& notice : parts.runner.notices()) log::info(notice);
}

}  // namespace

void run(const StudioOptions& options) {
  check_fields(options);
  check_ui_folder(options.ui_dir);
  const auto endings = block_endings();
  const StudioFolder folder(folder_of(options));
  const FolderLock lock(folder);
  std::error_code ignored;
  fs::remove_all(folder.root() / ".incoming", ignored);  // of uploads that were never finished
  remove_orphaned_thumbnails(folder);
  Server server(
      {.host = options.host, .port = static_cast<int>(options.port), .ui_folder = options.ui_dir});
  Database database(folder.root() / "studio.sqlite");
  EventHub events;
  const auto mos = mos_beside_us();
  Forms forms(mos, database);
  Reader reader(mos, folder.root());
  for (const auto& model : options.base) link_model(folder, model, check_by(reader, "model"));
  for (const auto& file : options.concept_files) {
    take_file(folder, file, "concept-files", check_by(reader, "concept_file"));
  }
  Gallery gallery(database, folder);
  Projects projects(database);
  JobStore store(database);
  Runner runner({.mos = mos,
                 .folder = folder,
                 .store = store,
                 .events = events,
                 .ended = [&](const Job& job) { take_in(gallery, events, job); }});
  const auto gate_settings = gate_options(options.host, server.port());
  const Gate gate(gate_settings);
  Parts parts{
      folder,  database, events, forms, reader,
      gallery, projects, runner, gate,  !interface_page().empty() || !options.ui_dir.empty()};
  const auto router = make_router(parts);
  const auto project = options.scene.empty() ? 0 : take_scene(folder, projects, options.scene);
  const auto page = project == 0 ? "" : fmt::format("#/compose/{}", project);
  const auto address = address_of(options.host, gate_settings) + page;
  const auto warming = warm_up(parts);
  say_start(parts, address);
  if (options.open) open_browser(address);
  std::thread ender([&] {
    int number = 0;
    sigwait(&endings, &number);
    events.close();
    runner.stop();
    server.stop();
  });
  server.serve(gate, router);
  pthread_kill(ender.native_handle(), SIGTERM);
  ender.join();
}

}  // namespace mos::studio
