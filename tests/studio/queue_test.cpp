#include <csignal>

#include "mos/studio/job_order.h"
#include "tests/studio/studio_fixture.h"

namespace mos::studio {
namespace {

using Queue = StudioTest;

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
  for (int i = 0; i < 500 && !std::filesystem::exists(folder_->root() / "jobs/1/end"); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  start();
  EXPECT_EQ(when(job, "done").at("results"), Json::array({"gallery/1.png"}));
  EXPECT_EQ(answer("GET", "/mos/v1/gallery").at("total"), 1);
}

TEST_F(Queue, AProcessThatIsGoneWithItsMinderIsInterruptedNotDoubled) {
  const auto job = add_sample("wait");
  when(job, "running");
  const auto minder = studio_->runner.find(1).minder;
  stop();
  kill(-minder.number, SIGKILL);
  for (int i = 0; i < 500 && is_alive(minder); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
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
  refused({{"promt", "a"}}, "unknown");
  refused({{"seed", -1}}, "0 or more");
  refused({{"seed", "1"}}, "expected");
  refused({{"out", "../x.png"}}, "no name");
  refused({{"out", "/tmp/x.png"}}, "no name");
  refused({{"out", "models/base/x.png"}}, "nothing is written");
  refused({{"base", "/etc"}}, "no name");
  refused({{"init", "/etc/passwd"}}, "no name");
  refused({{"concept", {"concept-files/absent.safetensors"}}}, "not there");
  refused({{"from", "gallery/absent.png"}}, "not there");
  write_text_file(folder_->root() / "uploads/foreign.png", "");
  refused({{"from", "uploads/foreign.png"}}, "no name");  // its record names a model elsewhere
  refused({{"prompt", "<lora:/etc/passwd:1>"}}, "no name");
  refused({{"prompt", "<LoRA:../x:1>"}}, "no name");
  EXPECT_EQ(answer("GET", "/mos/v1/jobs").at("jobs").size(), 0U);
}

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
