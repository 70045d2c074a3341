#include <algorithm>
#include <fstream>
#include <set>
#include <thread>

#include "mos/base/folder.h"
#include "mos/studio/embedded.h"
#include "mos/studio/schema_check.h"
#include "tests/studio/studio_fixture.h"

namespace mos::studio {
namespace {

class Api : public StudioTest {
 protected:
  const Json document_ = parse_json(openapi_text(), "docs/openapi.json");

  /// Asks, and holds the answer against what the file says of it.
  Json held(const std::string& method, const std::string& path, const std::string& pattern,
            const Json& body = nullptr) {
    const auto reply = ask(method, path, body.is_null() ? "" : body.dump());
    auto lowered = method;
    std::ranges::transform(lowered, lowered.begin(),
                           [](char c) { return static_cast<char>(c | 32); });
    const auto& responses = document_.at("paths").at(pattern).at(lowered).at("responses");
    const auto status = std::to_string(reply.status);
    EXPECT_TRUE(responses.contains(status)) << method << " " << path << ": " << reply.body;
    const auto& response =
        responses.contains(status) ? responses.at(status) : responses.at("default");
    if (!response.at("content").contains("application/json")) return nullptr;
    const auto json = parse_json(reply.body, "the reply");
    const auto& schema = response.at("content").at("application/json").at("schema");
    for (const auto& problem : schema_problems(json, schema, document_, path)) {
      ADD_FAILURE() << problem;
    }
    return json;
  }
};

/// The names of what may stand behind "?", sorted, a blank before each.
std::string queries_of(const Json& operation) {
  std::set<std::string> names;
  for (const auto& parameter : operation.value("parameters", Json::array())) {
    if (parameter.at("in") == "query") names.insert(parameter.at("name").get<std::string>());
  }
  std::string text;
  for (const auto& name : names) text += " " + name;
  return text;
}

TEST_F(Api, TheFileHasEveryRouteAndNoOther) {
  std::set<std::string> here, there;
  for (const auto& route : studio_->router.routes()) {
    auto method = route.method;
    std::ranges::transform(method, method.begin(),
                           [](char c) { return static_cast<char>(c | 32); });
    auto entry = method + " " + route.pattern;
    for (const auto& name : std::set<std::string>(route.query.begin(), route.query.end())) {
      entry += " " + name;
    }
    here.insert(entry);
  }
  for (const auto& [path, methods] : document_.at("paths").items()) {
    for (const auto& [method, operation] : methods.items()) {
      there.insert(method + " " + path + queries_of(operation));
    }
  }
  EXPECT_EQ(here, there);
}

TEST_F(Api, AnswersAreWhatTheFileSays) {
  const std::string v = "/mos/v1/";
  for (const std::string name :
       {"info", "openapi.json", "capabilities", "models", "concept-files", "jobs", "queue",
        "events/poll", "concepts", "gallery", "projects"}) {
    held("GET", v + name, v + name);
  }
  for (const std::string name :
       {"progress", "samplers", "schedulers", "sd-models", "loras", "options"}) {
    held("GET", "/sdapi/v1/" + name, "/sdapi/v1/" + name);
  }
  held("GET", "/v1/models", "/v1/models");
  held("POST", v + "login", v + "login", {{"token", ""}});
}

TEST_F(Api, AJobIsWhatTheFileSaysThroughItsLife) {
  const std::string jobs = "/mos/v1/jobs", one = jobs + "/{id}";
  const Json request = {{"kind", "sample"}, {"options", {{"prompt", "a dog"}}}, {"title", "t"}};
  held("POST", "/mos/v1/check", "/mos/v1/check", request);
  const auto job = held("POST", jobs, jobs, request);
  when(job, "done");
  for (const std::string part : {"", "/log", "/curve"}) held("GET", jobs + "/1" + part, one + part);
  const auto again =
      held("POST", jobs + "/1/repeat", one + "/repeat", {{"options", {{"prompt", "wait"}}}});
  when(again, "running");
  held("POST", jobs + "/2/cancel", one + "/cancel");
  when(again, "cancelled");
  held("DELETE", jobs + "/2", one);
  EXPECT_EQ(ask("GET", jobs + "/2").status, 404);
  EXPECT_EQ(ask("POST", jobs + "/1/pause").status, 409);
  EXPECT_EQ(ask("PUT", jobs + "/1").status, 405);
}

TEST_F(Api, TheGalleryIsWhatTheFileSays) {
  const std::string gallery = "/mos/v1/gallery";
  when(add_sample("a dog"), "done");
  held("GET", gallery + "/1", gallery + "/{id}");
  held("PATCH", gallery + "/1", gallery + "/{id}", {{"starred", true}, {"note", "good one"}});
  EXPECT_EQ(answer("GET", gallery + "?starred=true&search=GOOD").at("pictures").size(), 1U);
  EXPECT_EQ(answer("GET", gallery + "?search=absent").at("total"), 0);
  EXPECT_EQ(ask("GET", gallery + "/1/picture").file, folder_->root() / "gallery/1.png");
  held("POST", gallery + "/delete", gallery + "/delete", {{"ids", {1}}});
  EXPECT_TRUE(std::filesystem::exists(folder_->root() / "trash/1.png"));
  EXPECT_EQ(answer("GET", gallery).at("total"), 0);
}

TEST_F(Api, ProjectsComeBackAsTheyWere) {
  const std::string projects = "/mos/v1/projects", one = projects + "/{id}";
  const Json content = {{"scene", {{"prompt", "a beach"}}}};
  held("POST", projects, projects, {{"title", "beach"}, {"content", content}});
  held("PUT", projects + "/1", one, {{"title", "sea"}, {"content", content}});
  start();
  EXPECT_EQ(held("GET", projects + "/1", one).at("content"), content);
  held("DELETE", projects + "/1", one);
  EXPECT_EQ(ask("GET", projects + "/1").status, 404);
}

TEST_F(Api, ConceptsTakePicturesMasksAndCaptions) {
  const std::string concepts = "/mos/v1/concepts", one = concepts + "/{name}";
  held("POST", concepts, concepts, {{"name", "racer"}, {"words", {"<racer1>", "<racer2>"}}});
  const auto put = [&](const std::string& path) {
    return ask("PUT", concepts + path, "bytes", "image/png").status;
  };
  EXPECT_EQ(put("/racer/pictures/00.png"), 201);
  EXPECT_EQ(put("/racer/pictures/01.png"), 201);
  EXPECT_EQ(put("/racer/pictures/00.png"), 201);
  EXPECT_TRUE(std::filesystem::exists(folder_->root() / "trash/00.png"));
  EXPECT_EQ(put("/racer/masks/00"), 201);
  EXPECT_EQ(put("/racer/masks/02"), 404);
  EXPECT_EQ(put("/racer/pictures/00.jpg"), 409);
  EXPECT_EQ(put("/racer/pictures/00.bmp"), 415);
  EXPECT_EQ(put("/racer/pictures/..png"), 400);
  EXPECT_EQ(put("/absent/pictures/00.png"), 404);
  held("PATCH", concepts + "/racer/captions", one + "/captions", {{"00", "a <TOK> in the snow"}});
  EXPECT_EQ(read_text_file(folder_->root() / "concepts/racer/captions/00.txt"),
            "a <TOK> in the snow\n");
  held("GET", concepts + "/racer", one);
  held("PATCH", concepts + "/racer", one, {{"class_word", "car"}});
  const auto all = held("GET", concepts, concepts).at("concepts");
  EXPECT_EQ(all.at(0).at("masks"), 1);
  EXPECT_EQ(all.at(0).at("class_word"), "car");
  held("DELETE", concepts + "/racer/pictures/00.png", one + "/pictures/{file}");
  held("DELETE", concepts + "/racer", one);
  EXPECT_EQ(answer("GET", concepts).at("concepts").size(), 0U);
  EXPECT_TRUE(std::filesystem::exists(folder_->root() / "trash/racer"));
}

TEST_F(Api, AConceptThatIsRefusedLeavesNothing) {
  const Json wrong = {{"name", "q"}, {"words", "x"}}, right = {{"name", "q"}, {"words", {"<x>"}}};
  answer("POST", "/mos/v1/concepts", wrong, 400);
  EXPECT_FALSE(std::filesystem::exists(folder_->root() / "concepts/q"));
  answer("POST", "/mos/v1/concepts", right, 201);
}

TEST_F(Api, AnUnknownQueryIsRefused) {
  const auto reply = ask("GET", "/mos/v1/gallery?serch=dog");
  EXPECT_EQ(reply.status, 400);
  EXPECT_NE(reply.body.find("search"), std::string::npos) << reply.body;
  answer("GET", "/mos/v1/gallery?starred=maybe", nullptr, 400);
  answer("GET", "/mos/v1/jobs?kind=paint", nullptr, 400);
  const auto state = ask("GET", "/mos/v1/jobs?state=stopped");
  EXPECT_NE(state.body.find("paused"), std::string::npos) << state.body;
}

TEST_F(Api, WhatIsRefusedIsCalledAsItsOwnerCallsIt) {
  answer("POST", "/mos/v1/concepts", {{"name", "racer"}}, 201);
  for (const std::string path :
       {"/mos/v1/concepts/racer/pictures/hostile.png", "/mos/v1/uploads/hostile.png",
        "/mos/v1/concept-files/hostile.safetensors"}) {
    refuse_everything();
    const auto reply = ask("PUT", path, "bytes", "image/png");
    EXPECT_EQ(reply.status, 422);
    EXPECT_NE(reply.body.find("hostile."), std::string::npos) << reply.body;
    EXPECT_EQ(reply.body.find(".incoming"), std::string::npos) << reply.body;
  }
}

TEST_F(Api, PicturesThatWerePutIntoTheGalleryAreRead) {
  stop();
  write_text_file(folder_->root() / "gallery/theirs.png",
                  std::string("\211PNG\r\n\032\n\0\0\0\rIHDR\0\0\0\2\0\0\0\3", 24));
  start();
  read_records(studio_->parts, {});
  EXPECT_EQ(answer("GET", "/mos/v1/gallery").at("pictures").at(0).at("seed"), 7);
}

TEST_F(Api, A1111PaintsAndRefusesWhatItDoesNotDo) {
  const auto txt2img = [this](const Json& body) {
    return ask("POST", "/sdapi/v1/txt2img", body.dump());
  };
  const auto reply =
      txt2img({{"prompt", "a dog"},
               {"seed", 7},
               {"sampler_name", "Euler a"},
               {"scheduler", "Karras"},
               {"styles", Json::array()},
               {"restore_faces", false},
               {"subseed", -1},
               {"alwayson_scripts", {{"mos", {{"scene", {{"prompt", "a beach"}}}}}}}});
  ASSERT_EQ(reply.status, 200) << reply.body;
  const auto json = parse_json(reply.body, "the reply");
  EXPECT_EQ(json.at("images").size(), 1U);
  const auto info = parse_json(json.at("info").get<std::string>(), "info");
  EXPECT_EQ(info.at("all_seeds"), Json::array({7}));
  EXPECT_EQ(info.at("infotexts"), Json::array({"a dog"}));
  const auto options = answer("GET", "/mos/v1/jobs/1").at("options");
  EXPECT_EQ(options.at("sigmas"), "karras");
  EXPECT_EQ(txt2img({{"prompt", "a"}, {"restore_faces", true}}).status, 400);
  EXPECT_EQ(
      txt2img({{"prompt", "a"}, {"alwayson_scripts", {{"ControlNet", {{"args", {1}}}}}}}).status,
      400);
  EXPECT_EQ(ask("POST", "/sdapi/v1/img2img", R"({"prompt":"a","init_images":["%"]})").status, 400);
  EXPECT_EQ(txt2img({{"prompt", "fail"}}).status, 422);
  for (const int steps : {0, -1}) {
    EXPECT_EQ(txt2img({{"prompt", "a"}, {"steps", steps}}).status, 400);
  }
  EXPECT_EQ(txt2img({{"prompt", "a"}, {"batch_size", 100}, {"n_iter", 100}}).status, 400);
}

TEST_F(Api, TheCommandOfWhatIsOnlyCheckedNeedsNoFileOfAJob) {
  const auto checked = answer("POST", "/mos/v1/check",
                              {{"kind", "sample"},
                               {"options", {{"prompt", "a cat"}, {"steps", 3}}},
                               {"scene", {{"prompt", "sea"}}}});
  const auto command = checked.at("command").get<std::string>();
  EXPECT_NE(command.find("'--prompt=a cat'"), command.npos) << command;
  EXPECT_NE(command.find("--scene=scene.json"), command.npos) << command;
  EXPECT_EQ(command.find("jobs/"), command.npos) << command;
}

TEST_F(Api, TheCommandOfAFusionThatIsOnlyCheckedNeedsNoFileOfAJobEither) {
  for (const char* name : {"a", "b"}) {
    write_text_file(folder_->root() / "concept-files" / (std::string(name) + ".pt"), "");
  }
  const Json concepts = {"concept-files/a.pt=sks dog", "concept-files/b.pt"};
  const auto command = [this](const Json& options, bool dry_run) {
    const Json request = {{"kind", "fuse"}, {"options", options}, {"dry_run", dry_run}};
    return answer("POST", "/mos/v1/check", request).at("command").get<std::string>();
  };
  EXPECT_EQ(command({{"concepts", concepts}, {"base", "models/base"}}, false),
            "mos fuse 'concept-files/a.pt=sks dog' concept-files/b.pt --base=models/base "
            "--lora-folder=concept-files --out=fused/model");
  const auto lora = command({{"concepts", concepts}, {"lora", "concept-files/c.pt"}}, true);
  EXPECT_NE(lora.find("--lora=concept-files/c.pt"), lora.npos) << lora;
  EXPECT_EQ(lora.find("--out"), lora.npos) << lora;
  EXPECT_TRUE(lora.ends_with(" --dry-run")) << lora;
}

TEST_F(Api, AnAnswerThatIsNoneIsNotTakenForTheNext) {
  for (const std::string name : {"flood", "garbled"}) {
    const auto path = "uploads/" + name + ".png";
    write_text_file(folder_->root() / path, "bytes");
    EXPECT_EQ(ask("GET", "/mos/v1/thumbnails/" + path).status, 422) << name;
    const auto next = ask("PUT", "/mos/v1/uploads/next.png", "bytes", "image/png");
    ASSERT_EQ(next.status, 201) << next.body;
    EXPECT_EQ(parse_json(next.body, "the reply").at("width"), 2);
  }
}

TEST_F(Api, FilesThatComeAtOnceHaveNamesOfTheirOwn) {
  constexpr int kAtOnce = 24;
  std::vector<std::thread> threads;
  std::vector<int> refused(kAtOnce, 0);
  for (int i = 0; i < kAtOnce; ++i) {
    threads.emplace_back([this, i, &refused] {
      const auto bytes = std::to_string(i);
      EXPECT_EQ(ask("PUT", "/mos/v1/uploads/a.png", bytes, "image/png").status, 201);
      const auto file = ask("PUT", "/mos/v1/concept-files/a.pt", bytes, "");
      refused[static_cast<std::size_t>(i)] = file.status == 409 ? 1 : 0;
    });
  }
  for (auto& thread : threads) thread.join();
  std::set<std::string> kept;
  for (const auto& entry : std::filesystem::directory_iterator(folder_->root() / "uploads")) {
    kept.insert(read_text_file(entry.path()));
  }
  EXPECT_EQ(kept.size(), kAtOnce);
  EXPECT_EQ(std::ranges::count(refused, 1), kAtOnce - 1);
}

TEST_F(Api, WhatIsPlacedOrDiscardedAtOnceIsAllThere) {
  constexpr int kFolders = 16, kRounds = 20;
  std::vector<std::thread> threads;
  for (int i = 0; i < kFolders; ++i) {
    threads.emplace_back([this, i] {
      const auto place = "gallery/" + std::to_string(i);
      make_folders(folder_->root() / place);
      for (int round = 0; round < kRounds; ++round) {
        write_text_file(folder_->root() / place / "a.png", "bytes");
        EXPECT_NE(folder_->discard(place + "/a.png"), "");
        write_text_file(folder_->root() / place / "b.png", "bytes");
        (void)folder_->place(folder_->root() / place / "b.png", "uploads/b.png",
                             IfTaken::kOtherName);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  for (const char* all : {"trash", "uploads"}) {
    EXPECT_EQ(entries_of(folder_->root() / all).size(), kFolders * kRounds) << all;
  }
}

/// A request that is waited for elsewhere.
class Waiting : public Api {
 protected:
  ~Waiting() override {
    write_text_file(folder_->root() / "go", "");
    if (waiting_.joinable()) waiting_.join();
  }
  void begin(const std::string& path, const Json& body) {
    waiting_ = std::thread([this, path, body] { reply_ = ask("POST", path, body.dump()); });
  }
  Reply end() {
    waiting_.join();
    return reply_;
  }
  /// The job `id` once `state` is reached.
  Json job_when(int id, const std::string& state) {
    const auto path = "/mos/v1/jobs/" + std::to_string(id);
    for (int i = 0; i < kPatience && ask("GET", path).status != 200; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return when({{"id", id}}, state);
  }
  Json progress(const std::string& query = "") {
    return answer("GET", "/sdapi/v1/progress" + query);
  }

 private:
  std::thread waiting_;
  Reply reply_;
};

TEST_F(Waiting, ProgressLeavesThePictureOutWhereItIsToldSo) {
  begin("/sdapi/v1/txt2img", {{"prompt", "wait"}});
  job_when(1, "running");
  write_text_file(folder_->root() / "gallery/1.preview.png", "small");
  std::ofstream(folder_->root() / "jobs/1/events.jsonl", std::ios::app)
      << R"({"event":"preview","path":"gallery/1.preview.png"})"
      << "\n";
  for (int i = 0; i < kPatience && progress().at("current_image").is_null(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_EQ(progress("?skip_current_image=false").at("current_image"), "c21hbGw=");
  for (const char* yes : {"true", "True", "1"}) {
    const auto state = progress(std::string("?skip_current_image=") + yes);
    EXPECT_EQ(state.at("current_image"), nullptr);
    EXPECT_EQ(state.at("state").at("job"), "1");
  }
  EXPECT_EQ(ask("GET", "/sdapi/v1/progress?skip_current_image=maybe").status, 400);
  EXPECT_EQ(ask("GET", "/sdapi/v1/progress?id_task=1").status, 400);
}

TEST_F(Waiting, InterruptEndsNobodyElsesPicture) {
  const auto other = add_sample("wait");
  when(other, "running");
  EXPECT_EQ(ask("POST", "/sdapi/v1/interrupt").status, 200);
  EXPECT_EQ(progress().at("state").at("job"), "");
  begin("/sdapi/v1/txt2img", {{"prompt", "wait"}});
  job_when(2, "queued");
  for (int i = 0; i < kPatience && answer("GET", "/mos/v1/jobs/2").at("state") == "queued"; ++i) {
    EXPECT_EQ(ask("POST", "/sdapi/v1/interrupt").status, 200);
  }
  EXPECT_EQ(end().status, 409);
  EXPECT_EQ(answer("GET", "/mos/v1/jobs/2").at("state"), "cancelled");
  EXPECT_EQ(answer("GET", "/mos/v1/jobs/1").at("state"), "running");
  EXPECT_EQ(ask("POST", "/sdapi/v1/interrupt").status, 200);
  write_text_file(folder_->root() / "go", "");
  when(other, "done");
}

TEST_F(Waiting, OpenAIsClientsDoNotAskAgainForWhatWasCancelled) {
  begin("/v1/images/generations", {{"prompt", "wait"}});
  job_when(1, "running");
  EXPECT_EQ(ask("POST", "/sdapi/v1/interrupt").status, 200);
  EXPECT_EQ(answer("GET", "/mos/v1/jobs/1").at("state"), "running");  // of another API
  answer("POST", "/mos/v1/jobs/1/cancel");
  const auto reply = end();
  EXPECT_EQ(reply.status, 409);
  EXPECT_EQ(reply.headers.at("X-Should-Retry"), "false");
}

TEST_F(Api, TheEtaOfA1111IsOfTheSamplersThatHaveOne) {
  const auto options = [&](const std::string& sampler) {
    const Json body = {{"prompt", "a"}, {"eta", 1.0}, {"sampler_name", sampler}};
    const auto made = answer("POST", "/sdapi/v1/txt2img", body);
    const auto info = parse_json(made.at("info").get<std::string>(), "info");
    return answer("GET", "/mos/v1/jobs/" + std::to_string(info.at("job").get<int>())).at("options");
  };
  EXPECT_EQ(options("Euler a").at("ancestral_eta"), 1.0);
  EXPECT_FALSE(options("Euler").contains("ancestral_eta"));  // clients send it with all of them
  EXPECT_EQ(options("DDIM").at("eta"), 1.0);
}

TEST_F(Api, OpenAIPaints) {
  const auto json =
      answer("POST", "/v1/images/generations",
             {{"prompt", "a dog"}, {"n", 1}, {"size", "64x64"}, {"model", "models/base"}});
  EXPECT_EQ(json.at("data").size(), 1U);
  answer("POST", "/v1/images/generations", {{"prompt", "a"}, {"size", "big"}}, 400);
  answer("POST", "/v1/images/generations", {{"prompt", "a"}, {"n", 100000}}, 400);
  answer("POST", "/v1/images/generations", {{"prompt", "a"}, {"n", 0}}, 400);
  answer("POST", "/v1/images/generations", {{"prompt", "a"}, {"model", "gpt"}}, 404);
  answer("POST", "/v1/images/generations",
         {{"prompt", "a"}, {"quality", "auto"}, {"stream", false}, {"output_format", "png"}});
  answer("POST", "/v1/images/generations", {{"prompt", "a"}, {"quality", "high"}}, 400);
}

TEST_F(Api, BodiesAreBoundedAndOfOneKind) {
  EXPECT_EQ(ask("POST", "/mos/v1/jobs", "{}", "text/plain").status, 415);
  EXPECT_EQ(ask("POST", "/mos/v1/jobs", "[1]").status, 400);
  EXPECT_EQ(ask("POST", "/mos/v1/jobs", "{").status, 400);
  EXPECT_EQ(ask("POST", "/mos/v1/jobs", std::string((1 << 20) + 1, ' ')).status, 413);
}

TEST_F(Api, WhatTheReadersRefuseIsNotKept) {
  const auto reply = ask("PUT", "/mos/v1/concept-files/hostile.exe", "bytes", "");
  EXPECT_EQ(reply.status, 415);
  EXPECT_EQ(ask("PUT", "/mos/v1/concept-files/a.safetensors", "bytes", "").status, 201);
  EXPECT_EQ(ask("PUT", "/mos/v1/concept-files/a.safetensors", "bytes", "").status, 409);
  EXPECT_EQ(answer("GET", "/mos/v1/concept-files").at("files").at(0).at("words"),
            Json::array({"<a>"}));
  std::error_code ignored;
  EXPECT_TRUE(std::filesystem::is_empty(folder_->root() / ".incoming", ignored));
}

}  // namespace
}  // namespace mos::studio
