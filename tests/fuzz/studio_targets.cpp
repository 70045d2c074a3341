#include <sys/stat.h>

#include <filesystem>
#include <memory>
#include <set>
#include <string>

#include "mos/base/file.h"
#include "mos/base/text.h"
#include "mos/studio/parts.h"
#include "tests/fuzz/fuzz.h"
#include "tests/studio/fake_mos.h"

namespace mos::fuzz {
namespace {

namespace fs = std::filesystem;
using namespace mos::studio;

/// A studio in the scratch folder whose mos is a script.
struct Served {
  Served() : mos(scratch_folder() / "mos"), folder(scratch_folder() / "studio") {
    write_text_file(mos, kFakeMos);
    chmod(mos.c_str(), 0755);
    make_folders(folder.root() / "models/base");
    write_text_file(scratch_folder() / "outside", "secret");
  }

  fs::path mos;
  StudioFolder folder;
  Database database{folder.root() / "studio.sqlite"};
  EventHub events;
  Forms forms{mos, database};
  Reader reader{mos, folder.root()};
  Gallery gallery{database, folder};
  Projects projects{database};
  JobStore store{database};
  Runner runner{{.mos = mos,
                 .folder = folder,
                 .store = store,
                 .events = events,
                 .ended = [this](const Job& job) { gallery.add_results(job); }}};
  Gate gate{{.hosts = {"localhost:7860"}}};
  Parts parts{folder, database, events, forms, reader, gallery, projects, runner, gate};
  Router router = make_router(parts);
};

/// Takes the line up to `end` off `text`.
std::string take_line(std::string_view& text) {
  const auto end = text.find('\n');
  const std::string line(text.substr(0, end));
  text.remove_prefix(end == text.npos ? text.size() : end + 1);
  return line;
}

void take_query(Call& call) {
  const auto question = call.path.find('?');
  if (question == call.path.npos) return;
  auto query = call.path.substr(question + 1);
  call.path.resize(question);
  const auto equals = std::min(query.find('='), query.size());
  call.query[query.substr(0, equals)] = query.substr(std::min(equals + 1, query.size()));
}

/// "METHOD path?name=value", the type of the body, and the body, a line each.
Call call_of(std::string_view bytes) {
  const auto first = take_line(bytes);
  const auto blank = std::min(first.find(' '), first.size());
  Call call{.method = first.substr(0, blank),
            .path = first.substr(std::min(blank + 1, first.size()))};
  take_query(call);
  call.headers["content-type"] = take_line(bytes);
  call.headers["content-length"] = std::to_string(bytes.size());
  call.read_body = [body = std::string(bytes)](const Receiver& receiver) { return receiver(body); };
  return call;
}

/// No answer is a crash or leads out of the folder, and every one says what it is.
void run_api(std::string_view bytes) {
  static const auto served = std::make_unique<Served>();
  const auto call = call_of(bytes);
  // These wait for the end of a job, as they should.
  if (call.path.starts_with("/sdapi/v1/") || call.path.starts_with("/v1/images")) return;
  const auto reply = served->router.answer(call);
  promise(reply.status >= 200 && reply.status < 600, "an answer without a status");
  promise(reply.status != 500 || reply.body.find("\"internal\"") == reply.body.npos, reply.body);
  if (!reply.file.empty()) {
    const auto file = fs::weakly_canonical(reply.file).string();
    promise(file.starts_with(served->folder.root().string() + "/"), "a file outside: " + file);
  } else if (!reply.stream && reply.type == "application/json") {
    (void)parse_json(reply.body, "the reply");
  }
  promise(read_text_file(scratch_folder() / "outside") == "secret", "written outside the folder");
}

std::vector<std::string> api_seeds() {
  const std::string json = "\napplication/json\n";
  return {
      "POST /mos/v1/jobs" + json +
          R"({"kind":"sample","options":{"prompt":"fail <lora:a:1>","out":"gallery/a.png",)"
          R"("concept":["concept-files/a=0.5"],"seed":3},"scene":{"prompt":"x","regions":)"
          R"([{"prompt":"y","box":[0,0,1,1],"mask":"uploads/m.png"}],"conditions":)"
          R"([{"adapter":"models/base","picture":"uploads/p.png"}]},"title":"t","dry_run":false})",
      "POST /mos/v1/check" + json + R"({"kind":"tune","options":{"data":"concepts/a"}})",
      "GET /mos/v1/files/gallery/../../outside\n\n",
      "GET /mos/v1/jobs?state=queued\n\n",
      "GET /mos/v1/gallery?search=a\n\n",
      "POST /mos/v1/concepts" + json + R"({"name":"a","words":["<a>"],"class_word":"b"})",
      "PATCH /mos/v1/concepts/a/captions" + json + R"({"00":"a <TOK>","01":null})",
      "PUT /mos/v1/concepts/a/pictures/00.png\nimage/png\nbytes",
      "PUT /mos/v1/uploads/a.png\nimage/png\nhostile",
      "DELETE /mos/v1/concepts/a/pictures/00.png\n\n",
      "POST /mos/v1/jobs/1/move" + json + R"({"position":-1})",
      "POST /mos/v1/jobs/1/repeat" + json + R"({"options":{"prompt":"b"}})",
      "DELETE /mos/v1/jobs/1\n\n",
      "GET /mos/v1/events/poll?after=1\n\n",
      "POST /mos/v1/gallery/delete" + json + R"({"ids":[1,2]})",
      "GET /mos/v1/gallery/archive?ids=1,2\n\n",
      "POST /mos/v1/projects" + json + R"({"title":"t","content":{"a":[1]}})"};
}

}  // namespace

std::vector<Target> studio_targets() {
  const std::vector<std::string> words = {"../",
                                          "/",
                                          "%2e",
                                          "\\",
                                          ".",
                                          "{id}",
                                          "/mos/v1/",
                                          "jobs",
                                          "gallery/",
                                          "models/",
                                          "uploads",
                                          "null",
                                          "\"options\":",
                                          "<lora:",
                                          ">",
                                          "\n",
                                          "99999999999999999999",
                                          "-1",
                                          "\xff",
                                          "=1"};
  return {{"studio_api", run_api, api_seeds, words}};
}

}  // namespace mos::fuzz
