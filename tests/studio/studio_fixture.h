#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <memory>
#include <string>
#include <utility>

#include "mos/base/file.h"
#include "mos/studio/parts.h"
#include "tests/studio/fake_mos.h"
#include "tests/support/temp_dir.h"

/// A whole studio without a socket, whose mos is a script that does at once what it is told.
namespace mos::studio {

class StudioTest : public ::testing::Test {
 protected:
  static constexpr int kPatience = 3000;  ///< Looks, 20 ms apart: a minute.

  StudioTest() {
    write_text_file(mos_, kFakeMos);
    chmod(mos_.c_str(), 0755);
    start();
    make_folders(folder_->root() / "models/base");
  }

  /// As after a start; a studio that there was is gone then, as after a kill.
  void start() {
    studio_.reset();
    folder_ = std::make_unique<StudioFolder>(scratch_.path() / "folder");
    studio_ = std::make_unique<Studio>(mos_, *folder_);
  }
  void stop() { studio_.reset(); }

  Reply ask(const std::string& method, std::string path, const std::string& body = "",
            const std::string& type = "application/json") {
    Call call{.method = method};
    const auto question = path.find('?');
    if (question != path.npos) {
      auto query = path.substr(question + 1);
      while (!query.empty()) {
        const auto end = std::min(query.find('&'), query.size());
        const auto equals = query.find('=');
        call.query[query.substr(0, equals)] = query.substr(equals + 1, end - equals - 1);
        query.erase(0, end + 1);
      }
      path.resize(question);
    }
    call.path = path;
    call.headers = {{"content-type", type}, {"content-length", std::to_string(body.size())}};
    call.read_body = [body](const Receiver& receiver) { return body.empty() || receiver(body); };
    return studio_->router.answer(std::move(call));
  }
  Json answer(const std::string& method, const std::string& path, const Json& body = nullptr,
              int status = 200) {
    const auto reply = ask(method, path, body.is_null() ? "" : body.dump());
    EXPECT_EQ(reply.status, status) << method << " " << path << ": " << reply.body;
    return parse_json(reply.body, "the reply");
  }

  /// From now on the reader says of every file that it is no picture.
  void refuse_everything() { write_text_file(folder_->root() / "refuse", ""); }

  Json add_sample(const std::string& prompt) {
    return answer("POST", "/mos/v1/jobs", {{"kind", "sample"}, {"options", {{"prompt", prompt}}}},
                  201);
  }
  /// The job once `state` is reached, or as it is when patience ends.
  Json when(const Json& job, const std::string& state) {
    const auto path = "/mos/v1/jobs/" + std::to_string(job.at("id").get<int>());
    Json now;
    for (int i = 0; i < kPatience; ++i) {
      now = answer("GET", path);
      if (now.at("state") == state) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    EXPECT_EQ(now.at("state"), state) << now.dump(1);
    return now;
  }
  /// How often the script was started for this kind.
  std::size_t runs(const std::string& kind) {
    return lines_of(folder_->root() / ("runs-" + kind)).size();
  }

  struct Studio {
    Studio(const std::filesystem::path& mos, const StudioFolder& folder)
        : database(folder.root() / "studio.sqlite"),
          forms(mos, database),
          reader(mos, folder.root()),
          gallery(database, folder),
          projects(database),
          store(database),
          runner({.mos = mos,
                  .folder = folder,
                  .store = store,
                  .events = events,
                  .ended = [this](const Job& job) { gallery.add_results(job); }}),
          gate(GateOptions{.hosts = {"localhost:7860"}}),
          parts{folder, database, events, forms, reader, gallery, projects, runner, gate},
          router(make_router(parts)) {}
    Database database;
    EventHub events;
    Forms forms;
    Reader reader;
    Gallery gallery;
    Projects projects;
    JobStore store;
    Runner runner;
    Gate gate;
    Parts parts;
    Router router;
  };

  TempDir scratch_;
  std::filesystem::path mos_ = scratch_.path() / "mos";
  std::unique_ptr<StudioFolder> folder_;
  std::unique_ptr<Studio> studio_;
};

}  // namespace mos::studio
