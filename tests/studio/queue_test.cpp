#include <csignal>
#include <set>
#include <thread>

#include "mos/studio/job_order.h"
#include "tests/studio/studio_fixture.h"

namespace mos::studio {
namespace {

class Queue : public StudioTest {
 protected:
  /// A tuning of the concept `name`, which is made where it is not there.
  Json add_tuning(const std::string& name, const Json& more = Json::object(), int status = 201) {
    make_folders(folder_->root() / "concepts" / name);
    Json options = {{"data", "concepts/" + name}};
    options.update(more);
    return answer("POST", "/mos/v1/jobs", {{"kind", "tune"}, {"options", options}}, status);
  }
  static std::string out_of(const Json& job) { return job.at("options").at("out"); }
  static std::string path_of(const Json& job) {
    return "/mos/v1/jobs/" + std::to_string(job.at("id").get<int>());
  }
};

TEST_F(Queue, AJobRunsAndItsPictureComesIntoTheGallery) {
  const auto job = when(add_sample("a dog"), "done");
  EXPECT_EQ(job.at("results"), Json::array({"gallery/1.png"}));
  EXPECT_EQ(job.at("progress").at("step"), 1);
  const auto gallery = answer("GET", "/mos/v1/gallery");
  ASSERT_EQ(gallery.at("total"), 1);
  EXPECT_EQ(gallery.at("pictures").at(0).at("width"), 2);
  EXPECT_EQ(gallery.at("pictures").at(0).at("height"), 3);
}

TEST_F(Queue, OneJobRunsAtATimeInTheOrderOfTheQueue) {
  const auto first = add_sample("wait");
  when(first, "running");
  const auto second = add_sample("second"), third = add_sample("third");
  EXPECT_EQ(second.at("position"), 0);
  const auto path = "/mos/v1/jobs/" + std::to_string(third.at("id").get<int>());
  EXPECT_EQ(answer("POST", path + "/move", {{"position", 0}}).at("position"), 0);
  for (const int nowhere : {-1, 2, 99999}) {
    answer("POST", path + "/move", {{"position", nowhere}}, 400);
  }
  EXPECT_EQ(runs("sample"), 1U);
  const auto queue = answer("GET", "/mos/v1/queue").at("queue");
  ASSERT_EQ(queue.size(), 3U);
  EXPECT_EQ(queue.at(1).at("id"), third.at("id"));
  answer("POST", "/mos/v1/jobs/1/cancel");
  EXPECT_EQ(when(first, "cancelled").at("error"), nullptr);
  when(third, "done");
  when(second, "done");
}

TEST_F(Queue, AFailureSaysWhatTheJobSaid) {
  const auto job = when(add_sample("fail"), "failed");
  EXPECT_EQ(job.at("error").at("message"), "a file is bad");
  EXPECT_EQ(job.at("error").at("exit_code"), 3);
}

TEST_F(Queue, AJobThatIsKilledIsInterruptedAndCanBeTakenUpAgain) {
  const auto job = when(add_sample("die"), "interrupted");
  EXPECT_NE(job.at("note").get<std::string>().find("signal 9"), std::string::npos);
  answer("POST", "/mos/v1/jobs/1/resume");
  when(job, "interrupted");
  EXPECT_EQ(runs("sample"), 2U);
}

TEST_F(Queue, TuningPausesAndGoesOn) {
  answer("POST", "/mos/v1/concepts", {{"name", "wait"}}, 201);
  const auto job = answer("POST", "/mos/v1/jobs",
                          {{"kind", "tune"}, {"options", {{"data", "concepts/wait"}}}}, 201);
  when(job, "running");
  answer("POST", "/mos/v1/jobs/1/pause");
  EXPECT_EQ(when(job, "paused").at("can"), Json::array({"resume", "cancel", "repeat"}));
  write_text_file(folder_->root() / "go", "");
  answer("POST", "/mos/v1/jobs/1/resume");
  EXPECT_EQ(when(job, "done").at("results"), Json::array({"concept-files/wait.safetensors"}));
}

TEST_F(Queue, TuningThatBeganAnewGoesOnAndDoesNotBeginAnewAgain) {
  answer("POST", "/mos/v1/concepts", {{"name", "wait"}}, 201);
  const auto job =
      answer("POST", "/mos/v1/jobs",
             {{"kind", "tune"}, {"options", {{"data", "concepts/wait"}, {"fresh", true}}}}, 201);
  const auto given = folder_->root() / "jobs" / "1" / "job.json";
  when(job, "running");
  EXPECT_EQ(read_json_file(given).value("fresh", false), true);
  answer("POST", "/mos/v1/jobs/1/pause");
  when(job, "paused");
  write_text_file(folder_->root() / "go", "");
  answer("POST", "/mos/v1/jobs/1/resume");
  when(job, "done");
  EXPECT_FALSE(read_json_file(given).contains("fresh"));
}

TEST_F(Queue, TwoTuningsOfAConceptWriteTwoFiles) {
  when(add_sample("wait"), "running");
  const auto first = add_tuning("racer"), second = add_tuning("racer");
  EXPECT_EQ(out_of(first), "concept-files/racer.safetensors");
  EXPECT_EQ(out_of(second), "concept-files/racer-2.safetensors");
  EXPECT_EQ(out_of(answer("POST", path_of(first) + "/repeat", Json::object(), 201)),
            "concept-files/racer-3.safetensors");
  const Json taken = {{"out", "concept-files/racer-2.safetensors"}};
  const auto refused = add_tuning("racer", taken, 409);
  EXPECT_NE(refused.dump().find("which job 3 will write"), std::string::npos) << refused.dump();
  const Json fusion = {{"kind", "fuse"}, {"options", {{"lora", taken.at("out")}}}};
  answer("POST", "/mos/v1/jobs", fusion, 409);
  EXPECT_EQ(answer("POST", "/mos/v1/check", fusion).at("problems").size(), 1U);
  EXPECT_EQ(ask("PUT", "/mos/v1/concept-files/racer-2.safetensors", "bytes", "").status, 409);
  write_text_file(folder_->root() / "go", "");
  EXPECT_EQ(when(second, "done").at("results"), Json::array({out_of(second)}));
  EXPECT_EQ(when(first, "done").at("results"), Json::array({out_of(first)}));
}

TEST_F(Queue, TuningsThatAreAskedForAtOnceWriteFilesOfTheirOwn) {
  constexpr int kAtOnce = 8;
  when(add_sample("wait"), "running");
  std::vector<std::thread> threads;
  for (int i = 0; i < kAtOnce; ++i) threads.emplace_back([this] { add_tuning("racer"); });
  for (auto& thread : threads) thread.join();
  std::set<std::string> places;
  const auto listed = answer("GET", "/mos/v1/jobs?kind=tune");
  for (const auto& job : listed.at("jobs")) {
    places.insert(out_of(job));
  }
  EXPECT_EQ(places.size(), kAtOnce);
}

TEST_F(Queue, ATuningThatStartsAnewTakesThePlaceOfTheStoppedOne) {
  const auto root = folder_->root();
  write_text_file(root / "concept-files/wait.safetensors", "an older one");
  const auto stopped = add_tuning("wait");
  EXPECT_EQ(out_of(stopped), "concept-files/wait-2.safetensors");
  when(stopped, "running");
  write_text_file(root / "concept-files/wait-2.safetensors.checkpoint", "steps");
  answer("POST", path_of(stopped) + "/pause");
  when(stopped, "paused");
  EXPECT_EQ(out_of(add_tuning("wait")), "concept-files/wait-3.safetensors");
  std::filesystem::remove(root / "concept-files/wait.safetensors");
  const auto anew = add_tuning("wait", {{"fresh", true}});
  EXPECT_EQ(out_of(anew), out_of(stopped));
  answer("POST", path_of(stopped) + "/resume", nullptr, 409);  // both would write it
  write_text_file(root / "go", "");
  when(anew, "done");
  answer("POST", path_of(stopped) + "/resume", nullptr, 409);  // it is there now
}

TEST_F(Queue, ARunThatWasCancelledIsGoneOnWithWhereItsCheckpointLies) {
  const auto root = folder_->root();
  when(add_sample("wait"), "running");
  const auto first = add_tuning("racer"), second = add_tuning("racer");
  write_text_file(root / "concept-files/racer-2.safetensors.checkpoint", "steps");
  for (const auto& job : {first, second}) answer("POST", path_of(job) + "/cancel");
  EXPECT_EQ(out_of(add_tuning("racer")), out_of(second));
  EXPECT_EQ(out_of(add_tuning("racer")), out_of(first));
}

TEST_F(Queue, WhatCameToThePlaceOfAResultWhileItsJobWaitedIsKept) {
  const auto root = folder_->root();
  when(add_sample("wait"), "running");
  const auto tuning = add_tuning("racer");
  const Json options = {{"lora", "concept-files/both.safetensors"}};
  const auto fusion = answer("POST", "/mos/v1/jobs", {{"kind", "fuse"}, {"options", options}}, 201);
  for (const std::string name : {"racer", "both"}) {
    write_text_file(root / "concept-files" / (name + ".safetensors"), "mine");
  }
  write_text_file(root / "go", "");
  for (const auto& job : {tuning, fusion}) {
    const auto message = when(job, "failed").at("error").at("message").get<std::string>();
    EXPECT_NE(message.find("has come there"), message.npos) << message;
  }
  EXPECT_EQ(read_text_file(root / "concept-files/racer.safetensors"), "mine");
}

TEST_F(Queue, OneGraphicsCardHasOneQueueHoweverItIsNamed) {
  const auto add = [this](const std::string& prompt, const std::string& device) {
    const Json options = {{"prompt", prompt}, {"device", device}};
    return answer("POST", "/mos/v1/jobs", {{"kind", "sample"}, {"options", options}}, 201);
  };
  const auto first = add("wait", "cuda");
  when(first, "running");
  const auto second = add("a dog", "cuda:0"), third = add("a cat", "cuda");
  EXPECT_EQ(third.at("position"), 1);
  when(add("a fox", "cuda:1"), "done");
  EXPECT_EQ(answer("GET", path_of(second)).at("state"), "queued");
  write_text_file(folder_->root() / "go", "");
  when(third, "done");
}

TEST_F(Queue, ClassPicturesAreNoConcept) {
  const auto root = folder_->root();
  const auto job = when(add_tuning("racer"), "done");
  const auto given = read_json_file(root / "jobs/1/job.json");
  EXPECT_EQ(given.at("prior_folder"), "uploads/class-pictures");
  make_folders(root / "concepts/racer-prior/0123456789ab");  // of the command line
  write_text_file(root / "concepts/racer-prior/0123456789ab/prior.json", "{}");
  make_folders(root / "concepts/what-prior/images");
  const auto concepts = answer("GET", "/mos/v1/concepts").at("concepts");
  ASSERT_EQ(concepts.size(), 2U);
  EXPECT_EQ(concepts.at(0).at("name"), "racer");
  EXPECT_EQ(concepts.at(1).at("name"), "what-prior");
}

TEST_F(Queue, PlacesOfClassPicturesAndPagesAreWrittenTo) {
  make_folders(folder_->root() / "uploads/mine");
  for (const char* place : {"uploads/mine", "uploads/new"}) {
    add_tuning("racer", {{"prior_folder", place}});
  }
  for (const char* place : {"models/x", "jobs/1", "concepts/racer-prior", "/tmp/x"}) {
    add_tuning("racer", {{"prior_folder", place}}, 400);
  }
  const auto evaluate = [this](const std::string& page, int status) {
    return answer("POST", "/mos/v1/jobs", {{"kind", "evaluate"}, {"options", {{"page", page}}}},
                  status);
  };
  write_text_file(folder_->root() / "gallery/a.html", "mine");
  evaluate("gallery/a.html", 409);
  evaluate("models/a.html", 400);
  const auto job = evaluate("gallery/b.html", 201);
  const auto again = answer("POST", path_of(job) + "/repeat", Json::object(), 201);
  EXPECT_FALSE(again.at("options").contains("page"));
}

TEST_F(Queue, AJobIsCancelledHoweverSoonAfterItsStart) {
  for (int i = 0; i < 20; ++i) {
    const auto job = add_sample("wait");
    when(job, "running");
    answer("POST", "/mos/v1/jobs/" + std::to_string(job.at("id").get<int>()) + "/cancel");
    when(job, "cancelled");
  }
}

TEST_F(Queue, AJobWhoseServerEndedIsFoundAgainAndRunsOnce) {
  const auto job = add_sample("wait"), waiting = add_sample("next");
  when(job, "running");
  start();
  EXPECT_EQ(answer("GET", "/mos/v1/jobs/1").at("state"), "running");
  EXPECT_FALSE(studio_->runner.notices().empty());
  write_text_file(folder_->root() / "go", "");
  when(job, "done");
  when(waiting, "done");
  EXPECT_EQ(runs("sample"), 2U);
}

TEST_F(Queue, WhatEndedWhileTheServerWasAwayIsKnownByItsEnd) {
  const auto job = add_sample("wait");
  when(job, "running");
  stop();
  write_text_file(folder_->root() / "go", "");
  for (int i = 0; i < kPatience && !std::filesystem::exists(folder_->root() / "jobs/1/end"); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  start();
  EXPECT_EQ(when(job, "done").at("results"), Json::array({"gallery/1.png"}));
  EXPECT_EQ(answer("GET", "/mos/v1/gallery").at("total"), 1);
}

TEST_F(Queue, AProcessThatIsGoneWithItsMinderIsInterruptedNotDoubled) {
  const auto job = add_sample("wait");
  when(job, "running");
  // A job is running before its program has come so far as to note that it ran.
  for (int i = 0; i < kPatience && runs("sample") == 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  const auto minder = studio_->runner.find(1).minder;
  stop();
  kill(-minder.number, SIGKILL);
  for (int i = 0; i < kPatience && is_alive(minder); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  start();
  EXPECT_FALSE(when(job, "interrupted").at("note").is_null());
  EXPECT_EQ(runs("sample"), 1U);
}

TEST_F(Queue, OptionsAreCheckedBeforeAnythingIsQueued) {
  const auto refused = [this](const Json& options, const std::string& what) {
    const auto reply =
        ask("POST", "/mos/v1/jobs", Json({{"kind", "sample"}, {"options", options}}).dump());
    EXPECT_EQ(reply.status / 100, 4) << options.dump();
    EXPECT_NE(reply.body.find(what), std::string::npos) << reply.body;
  };
  refused({{"promt", "a"}}, R"(promt\" is unknown; did you mean 'prompt'?)");
  refused({{"seed", -1}}, "0 or more");
  refused({{"seed", "1"}}, "expected a whole number");
  refused({{"out", "../x.png"}}, "no name");
  refused({{"out", "/tmp/x.png"}}, "begins at the root");
  refused({{"out", "models/base/x.png"}}, "nothing is written");
  refused({{"base", "/etc"}}, "begins at the root");
  refused({{"init", "/etc/passwd"}}, "begins at the root");
  refused({{"concept", {"concept-files/absent.safetensors"}}}, "not there");
  refused({{"from", "gallery/absent.png"}}, "not there");
  write_text_file(folder_->root() / "uploads/foreign.png", "");
  refused({{"from", "uploads/foreign.png"}},
          "begins at the root");  // its record names a model elsewhere
  refused({{"prompt", "<lora:/etc/passwd:1>"}}, "two slashes");
  refused({{"prompt", "<LoRA:../x:1>"}}, "no name");
  EXPECT_EQ(answer("GET", "/mos/v1/jobs").at("jobs").size(), 0U);
}

TEST_F(Queue, AJobThatCannotBeWrittenIsRefusedNotQueued) {
  std::filesystem::remove_all(folder_->root() / "jobs");
  write_text_file(folder_->root() / "jobs", "in its place");
  const Json request = {{"kind", "sample"}, {"options", {{"prompt", "a dog"}}}};
  answer("POST", "/mos/v1/jobs", request, 500);
  EXPECT_EQ(answer("GET", "/mos/v1/jobs").at("jobs").size(), 0U);
}

TEST_F(Queue, AJobThatCannotStartHasFailedAndTheNextHasItsTurn) {
  const auto first = add_sample("wait"), second = add_sample("second"), third = add_sample("third");
  when(first, "running");
  std::filesystem::remove_all(folder_->root() / "jobs/2");
  write_text_file(folder_->root() / "jobs/2", "in its place");
  write_text_file(folder_->root() / "go", "");
  EXPECT_EQ(when(second, "failed").at("error").at("kind"), "io");
  when(third, "done");
}

TEST_F(Queue, APauseIsNoErrorInTheLog) {
  make_folders(folder_->root() / "jobs/1");
  write_text_file(folder_->root() / "jobs/1/events.jsonl",
                  R"({"event":"error","kind":"cancelled","message":"stopped after step 3"})"
                  "\n"
                  R"({"event":"error","kind":"io","message":"no disk"})"
                  "\n");
  const auto lines = log_of(folder_->root() / "jobs/1/events.jsonl", 10).at("lines");
  EXPECT_EQ(lines.at(0).at("level"), "info");
  EXPECT_EQ(lines.at(1).at("level"), "error");
}

TEST_F(Queue, NoticesGoOnceTheyAreRead) {
  when(add_sample("wait"), "running");
  start();
  EXPECT_EQ(answer("GET", "/mos/v1/capabilities").at("notices").size(), 1U);
  answer("DELETE", "/mos/v1/notices");
  EXPECT_EQ(answer("GET", "/mos/v1/capabilities").at("notices").size(), 0U);
}

TEST_F(Queue, ANewDatabaseWritesOverNothingOfTheOld) {
  when(add_sample("a dog"), "done");
  stop();
  for (const char* end : {"", "-wal", "-shm"}) {
    std::filesystem::remove(folder_->root() / (std::string("studio.sqlite") + end));
  }
  start();
  EXPECT_EQ(add_sample("a cat").at("id"), 2);
  EXPECT_EQ(answer("GET", "/mos/v1/gallery").at("total"), 1);
}

TEST_F(Queue, ADamagedDatabaseSaysWhatIsSafeAndWhatToDo) {
  stop();
  write_text_file(folder_->root() / "studio.sqlite", std::string(4096, 'x'));
  try {
    const Database database(folder_->root() / "studio.sqlite");
    FAIL() << "it was opened";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kFormat);
    EXPECT_NE(std::string(error.what()).find("move it aside"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("are found again"), std::string::npos);
  }
}

TEST_F(Queue, WhatIsCertainToFailIsSaidByTheCheckAndNeverQueued) {
  const Json request = {{"kind", "sample"}, {"options", {{"prompt", "impossible"}}}};
  EXPECT_EQ(answer("POST", "/mos/v1/check", request).at("problems"),
            Json::array({"it is impossible", "it has no pictures"}));
  const auto refused = answer("POST", "/mos/v1/jobs", request, 400);
  EXPECT_EQ(refused.at("error").at("message"), "it is impossible; it has no pictures");
  const auto painted = ask("POST", "/sdapi/v1/txt2img", R"({"prompt":"impossible"})");
  EXPECT_EQ(painted.status, 400);
  EXPECT_EQ(answer("GET", "/mos/v1/jobs").at("jobs").size(), 0U);
}

TEST_F(Queue, ACheckThatComesToNothingStopsNobody) { when(add_sample("unreadable"), "done"); }

TEST_F(Queue, APictureIsPaintedOnFrom) {
  when(add_sample("a dog"), "done");
  const Json request = {{"kind", "sample"}, {"options", {{"from", "gallery/1.png"}}}};
  when(answer("POST", "/mos/v1/jobs", request, 201), "done");
}

TEST_F(Queue, PathsInScenesStayInTheFolder) {
  for (const Json& scene :
       {Json{{"regions", {{{"mask", "/etc/passwd"}}}}},
        Json{{"conditions", {{{"adapter", "../x"}, {"picture", "uploads/a.png"}}}}},
        Json{{"regions", {{{"prompt", "<lora:../../x>"}}}}}}) {
    const auto reply =
        ask("POST", "/mos/v1/jobs", Json({{"kind", "sample"}, {"scene", scene}}).dump());
    EXPECT_EQ(reply.status, 400) << scene.dump() << reply.body;
  }
}

TEST(JobOrder, TheCommandIsWrittenAsAShellTakesIt) {
  Job job{.id = 3};
  job.order = {
      .kind = "condition", .options = {{"out", "uploads/a b.png"}}, .words = {"uploads/it's.png"}};
  EXPECT_EQ(command_text(job), R"(mos condition 'uploads/it'\''s.png' '--out=uploads/a b.png')");
  job.order = {.kind = "tune", .dry_run = true};
  EXPECT_EQ(command_text(job), "mos tune --config jobs/3/job.json --dry-run");
}

}  // namespace
}  // namespace mos::studio
