#include "mos/tune/run.h"

#include <fmt/core.h>
#include <gmock/gmock.h>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/base/log.h"
#include "mos/base/runtime.h"
#include "mos/io/safetensors.h"
#include "mos/tune/identity.h"
#include "mos/tune/preview.h"
#include "tests/tune/tiny_model.h"

namespace {

using enum mos::checkpoint::Part;

namespace fs = std::filesystem;
using mos::Error;
using mos::ErrorKind;
using mos::ScopedThreads;
using mos::concepts::ConceptDelta;
using mos::tune::TuneHooks;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

void expect_same(const ConceptDelta& a, const ConceptDelta& b) {
  ASSERT_EQ(a.words.size(), b.words.size());
  for (std::size_t i = 0; i < a.words.size(); ++i) {
    EXPECT_TRUE(a.words[i].rows.first().equal(b.words[i].rows.first())) << a.words[i].word;
  }
  for (const auto& [layer, pair] : a.of(kUNet)) {
    EXPECT_TRUE(pair.low_rank().up.equal(b.of(kUNet).at(layer).low_rank().up)) << layer;
  }
}

class Run : public ::testing::Test {
 protected:
  ConceptDelta tune(const TuneHooks& hooks = {}) {
    return mos::tune::tune_concept(base_, dataset_, options_, hooks);
  }

  /// Runs until the given step and is cancelled there.
  void stop_after(std::int64_t step, TuneHooks hooks) {
    mos::CancelToken cancel;
    if (step == 0) cancel.cancel();
    hooks.cancel = &cancel;
    hooks.progress = [&](const mos::Progress& progress) {
      if (progress.stage == "tuning" && progress.step == step) cancel.cancel();
    };
    EXPECT_THROW(tune(hooks), Error);
  }

  /// The checkpoint of another run, which was stopped.
  fs::path stopped_with_another_seed() {
    const auto place = folder_ / "other.checkpoint";
    options_.run.seed += 1;
    stop_after(2, {.checkpoint = place});
    options_.run.seed -= 1;
    return place;
  }

  /// What a run says instead of going on from the checkpoint.
  void expect_refusal(ErrorKind kind, const ::testing::Matcher<const char*>& message) {
    try {
      tune({.checkpoint = checkpoint_});
      ADD_FAILURE() << "went on";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind) << error.what();
      EXPECT_THAT(error.what(), message);
    }
  }

  mos::TempDir folder_;
  fs::path checkpoint_ = folder_ / "run.checkpoint";
  mos::diffusion::Model base_ = mos::tune::testing::tiny_model();
  mos::tune::ConceptDataset dataset_ = mos::tune::testing::tiny_dataset();
  mos::tune::TuneOptions options_ = mos::tune::testing::tiny_options();
};

TEST_F(Run, LeavesTheCheckpointOfItsLastStepWhichGivesTheConceptAgain) {
  const auto delta = tune({.checkpoint = checkpoint_});
  ASSERT_TRUE(fs::exists(checkpoint_));
  std::int64_t steps = 0;
  const auto count = [&](const mos::Progress&) { ++steps; };
  expect_same(tune({.progress = count, .checkpoint = checkpoint_}), delta);
  EXPECT_EQ(steps, 0);
}

TEST_F(Run, GivesItsResultWhereNoCheckpointCanBeWritten) {
  mos::write_text_file(folder_ / "file", "");
  options_.run.checkpoint_every = 1;
  const auto delta = tune();
  expect_same(tune({.checkpoint = folder_ / "file" / "run.checkpoint"}), delta);
}

TEST_F(Run, SaysThatNothingWasSavedWhenItCouldNot) {
  mos::write_text_file(folder_ / "file", "");
  mos::CancelToken cancel;
  cancel.cancel();
  try {
    tune({.cancel = &cancel, .checkpoint = folder_ / "file" / "run.checkpoint"});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kCancelled);
    EXPECT_THAT(error.what(), HasSubstr("not saved there: cannot create"));
  }
}

TEST_F(Run, GivesItsResultWhereNoPictureCanBeWritten) {
  mos::write_text_file(folder_ / "file", "");
  const auto delta = tune();
  options_.run.preview_pictures = 1;
  options_.run.preview_steps = 1;
  expect_same(tune({.preview_folder = folder_ / "file" / "previews"}), delta);
}

TEST_F(Run, PaintsWhatWasDueBeforeItEnded) {
  options_.run.preview_pictures = 1;
  options_.run.preview_steps = 1;
  options_.run.preview_every = 2;
  const TuneHooks hooks{.checkpoint = checkpoint_, .preview_folder = folder_ / "previews"};
  stop_after(2, hooks);
  const auto due = folder_ / "previews" / "step-000002-1.png";
  ASSERT_FALSE(fs::exists(due));
  tune(hooks);
  EXPECT_TRUE(fs::exists(due));
}

/// Sample pictures of two prompts, with a row for each of two scales.
void ask_for_samples(mos::tune::TuneOptions& options) {
  options.run.preview_pictures = 1;
  options.run.preview_steps = 1;
  options.run.preview_every = 2;
  options.run.preview_scales = {0.0, 1.0};
  options.run.preview_prompts = {"a <TOK>", "<TOK>"};
}

TEST_F(Run, SaysEachRowThatItPaintsAndGoesOnCountingItsSteps) {
  ask_for_samples(options_);
  std::vector<std::string> said;
  tune({.progress =
            [&](const mos::Progress& progress) {
              said.push_back(
                  fmt::format("{} {}/{}", progress.stage, progress.step, progress.total));
            },
        .preview_folder = folder_ / "previews"});
  const std::vector<std::string> painting = {"painting samples 1/4", "painting samples 2/4",
                                             "painting samples 3/4", "painting samples 4/4"};
  std::vector<std::string> expected = {"tuning 1/4", "tuning 2/4"};
  expected.insert(expected.end(), painting.begin(), painting.end());
  expected.insert(expected.end(), {"tuning 3/4", "tuning 4/4"});
  expected.insert(expected.end(), painting.begin(), painting.end());
  EXPECT_EQ(said, expected);
}

TEST_F(Run, WhatWasPaintedBeforeItStoppedIsShown) {
  ask_for_samples(options_);
  mos::CancelToken cancel;
  std::vector<fs::path> shown;
  const TuneHooks hooks{.progress =
                            [&](const mos::Progress& progress) {
                              const bool is_second_picture =
                                  progress.stage == "painting samples" && progress.step == 3;
                              if (is_second_picture) cancel.cancel();
                            },
                        .cancel = &cancel,
                        .checkpoint = checkpoint_,
                        .preview_folder = folder_ / "previews",
                        .preview = [&](const fs::path& path) { shown.push_back(path); }};
  EXPECT_THROW(tune(hooks), Error);
  const auto first = folder_ / "previews" / "step-000002-1.png";
  EXPECT_EQ(shown, std::vector{first});
  EXPECT_TRUE(fs::exists(first));
}

TEST_F(Run, ACheckpointOfAnotherRunIsSeenWithoutTheBase) {
  stop_after(1, {.checkpoint = checkpoint_});
  const auto kept = mos::io::SafetensorsFile(checkpoint_).metadata();
  const auto difference = [&] {
    return mos::tune::difference_without_base(kept, dataset_,
                                              mos::tune::complete_options(options_, dataset_));
  };
  EXPECT_EQ(difference(), "");
  options_.run.preview_every = 7;
  options_.run.dtype = "auto";
  EXPECT_EQ(difference(), "");  // nothing that is learned
  options_.optimiser.steps = 40;
  EXPECT_EQ(difference(), "\"steps\" 4 instead of 40");
  options_.optimiser.steps = 4;
  dataset_.pictures[0].caption.text = "a <TOK>";
  EXPECT_EQ(difference(), "other pictures, masks or captions");
}

TEST_F(Run, PaintsNothingTwice) {
  options_.run.preview_pictures = 1;
  options_.run.preview_steps = 1;
  options_.run.preview_every = 2;
  const TuneHooks hooks{.checkpoint = checkpoint_, .preview_folder = folder_ / "previews"};
  stop_after(3, hooks);
  const auto painted = folder_ / "previews" / "step-000002-1.png";
  ASSERT_TRUE(fs::remove(painted));
  tune(hooks);
  EXPECT_FALSE(fs::exists(painted));
}

TEST_F(Run, StartsAnewWhenAskedAndReplacesTheCheckpoint) {
  const auto whole = tune();
  options_.optimiser.unet_rate = 1e-2;
  stop_after(2, {.checkpoint = checkpoint_});
  options_.optimiser.unet_rate = 1e-3;
  expect_same(tune({.checkpoint = checkpoint_, .fresh = true}), whole);
  expect_same(tune({.checkpoint = checkpoint_}), whole);
}

TEST_F(Run, LeavesTheCheckpointOfAnotherRunThatWasStoppedMeanwhile) {
  const auto whole = tune();
  const auto elsewhere = stopped_with_another_seed();
  const auto stop_other = [&](const mos::Progress& progress) {
    if (progress.step == 2) fs::copy_file(elsewhere, checkpoint_);
  };
  std::vector<std::string> said;
  const mos::log::ScopedSink sink(
      [&](mos::log::Level, std::string_view line) { said.emplace_back(line); });
  expect_same(tune({.progress = stop_other, .checkpoint = checkpoint_}), whole);
  EXPECT_EQ(mos::read_whole_file(checkpoint_), mos::read_whole_file(elsewhere));
  EXPECT_THAT(said, ::testing::Contains(AllOf(HasSubstr("no checkpoint of step"),
                                              HasSubstr("another run, with \"seed\""))));
}

TEST_F(Run, ThatIsStoppedWhileAnotherLiesInItsPlaceIsKeptBeside) {
  const auto whole = tune();
  const auto elsewhere = stopped_with_another_seed();
  mos::CancelToken cancel;
  const auto stop_both = [&](const mos::Progress& progress) {
    if (progress.step != 2) return;
    fs::copy_file(elsewhere, checkpoint_);
    cancel.cancel();
  };
  mos::write_text_file(folder_ / "run-2.checkpoint", "of a third one");
  const auto beside = folder_ / "run-3.checkpoint";
  try {
    tune({.progress = stop_both, .cancel = &cancel, .checkpoint = checkpoint_});
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("of another run now"), HasSubstr(beside.string())));
  }
  EXPECT_EQ(mos::read_whole_file(checkpoint_), mos::read_whole_file(elsewhere));
  fs::rename(beside, checkpoint_);
  expect_same(tune({.checkpoint = checkpoint_}), whole);
}

TEST_F(Run, OfOtherOptionsIsRefusedByTheirName) {
  stop_after(0, {.checkpoint = checkpoint_});
  options_.weights.rank = 2;
  expect_refusal(ErrorKind::kMismatch, HasSubstr("\"rank\" 4 instead of 2"));
}

TEST_F(Run, DoesNotGoOnWithTimestepsDrawnInAnotherWay) {
  stop_after(1, {.checkpoint = checkpoint_});
  options_.loss.timesteps = mos::tune::Timesteps::kStratified;
  expect_refusal(ErrorKind::kMismatch,
                 HasSubstr("\"timesteps\" \"independent\" instead of \"stratified\""));
}

TEST_F(Run, DoesNotGoOnInAnotherNumberType) {
  stop_after(1, {.checkpoint = checkpoint_});
  base_.towers[0].encoder->to(torch::kBFloat16);
  base_.unet->to(torch::kBFloat16);
  base_.vae->to(torch::kBFloat16);
  expect_refusal(ErrorKind::kMismatch, HasSubstr("\"dtype\" \"float32\" instead of \"bfloat16\""));
}

TEST_F(Run, DoesNotGoOnWithOtherThreadsWhereTheyShow) {
  const auto stop = [&](int threads) {
    const ScopedThreads scope(threads);
    stop_after(1, {.checkpoint = checkpoint_});
  };
  const ScopedThreads two(2);
  stop(1);
  expect_refusal(ErrorKind::kMismatch, HasSubstr("\"threads\" 1 instead of 2"));
  EXPECT_EQ(tune().metadata.at("threads"), "2");

  options_.optimiser.micro_batch = 1;
  fs::remove(checkpoint_);
  stop(1);
  EXPECT_FALSE(tune({.checkpoint = checkpoint_}).metadata.contains("threads"));
}

TEST_F(Run, DoesNotGoOnWithOtherSettingsOfTheBase) {
  stop_after(1, {.checkpoint = checkpoint_});
  base_.settings.scheduler_config["beta_end"] = 0.01;
  expect_refusal(ErrorKind::kMismatch, AllOf(HasSubstr("scheduler"), HasSubstr("\"beta_end\"")));
}

TEST_F(Run, NamesTheNumberTypeThatAutoCameOutAs) {
  options_.run.dtype = "auto";
  EXPECT_THAT(tune().metadata.at("options"), HasSubstr("\"dtype\":\"float32\""));
}

TEST_F(Run, DoesNotSendUsForAnotherCopyOfADamagedCheckpoint) {
  stop_after(1, {.checkpoint = checkpoint_});
  const auto whole = mos::read_text_file(checkpoint_);
  const auto no_other =
      AllOf(HasSubstr("run.checkpoint"), HasSubstr("--fresh"), Not(HasSubstr("fetch")));
  for (const std::size_t kept :
       {std::size_t{0}, std::size_t{5}, std::size_t{300}, whole.size() - 1}) {
    mos::write_text_file(checkpoint_, whole.substr(0, kept));
    expect_refusal(ErrorKind::kFormat, no_other);
  }
  for (const auto* word : {"previewed", "lora_down", "moment2"}) {
    auto changed = whole;
    changed[changed.find(word)] = 'x';
    mos::write_text_file(checkpoint_, changed);
    expect_refusal(ErrorKind::kFormat, no_other);
  }
}

}  // namespace
