#include "mos/tune/prior.h"

#include <gmock/gmock.h>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/tune/objective.h"
#include "mos/tune/plan.h"
#include "mos/tune/trainer.h"
#include "mos/tune/tune.h"
#include "tests/tune/tiny_model.h"

namespace {

namespace fs = std::filesystem;
using mos::tune::prior_pictures;
using mos::tune::prior_place;
using mos::tune::TuneOptions;
using mos::tune::testing::tiny_dataset;
using mos::tune::testing::tiny_model;
using mos::tune::testing::tiny_options;
using ::testing::HasSubstr;

class Prior : public ::testing::Test {
 protected:
  Prior() {
    options_.prior.pictures = 5;
    options_.prior.steps = 2;
    options_.words.class_word = "man";
  }
  std::vector<mos::tune::TrainingPicture> get() {
    return prior_pictures(base_, options_, {.folder = folder_.path()});
  }
  fs::path place() { return prior_place(folder_.path(), base_, options_); }

  mos::TempDir folder_;
  mos::diffusion::Model base_ = tiny_model();
  TuneOptions options_ = tiny_options();
};

TEST_F(Prior, IsPaintedOnceAndReadFromThenOn) {
  const auto painted = get();
  ASSERT_EQ(painted.size(), 5U);
  EXPECT_EQ(painted[0].caption.text, "a photo of a man");
  EXPECT_FALSE(painted[0].pixels.equal(painted[1].pixels));
  ASSERT_TRUE(fs::exists(place() / "0004.png"));
  const auto written = fs::last_write_time(place() / "0000.png");
  const auto read = get();
  for (std::size_t i = 0; i < 5; ++i) EXPECT_TRUE(read[i].pixels.equal(painted[i].pixels)) << i;
  EXPECT_EQ(fs::last_write_time(place() / "0000.png"), written);
}

TEST_F(Prior, OfWhichSomeAreMissingIsCompletedWithTheSamePictures) {
  options_.prior.pictures = 2;
  get();
  options_.prior.pictures = 5;
  const auto before = get();
  const auto bytes = mos::read_text_file(place() / "0001.png");
  fs::remove(place() / "0001.png");
  const auto after = get();
  EXPECT_TRUE(after[1].pixels.equal(before[1].pixels));
  EXPECT_EQ(mos::read_text_file(place() / "0001.png"), bytes);
}

TEST_F(Prior, IsAnotherForOtherOptionsAndForAnotherBaseAndLeavesTheFormerWhereItWas) {
  get();
  const auto first = place();
  options_.prior.guidance = 3.0;
  EXPECT_NE(place(), first);
  options_.prior.guidance = TuneOptions().prior.guidance;
  EXPECT_EQ(place(), first);
  {
    torch::NoGradGuard no_grad;
    base_.unet->parameters().front().add_(0.1);
  }
  EXPECT_NE(place(), first);
  get();
  EXPECT_TRUE(fs::exists(first / "0000.png"));
  EXPECT_THAT(mos::read_text_file(place() / mos::tune::kPriorRecord), HasSubstr("base_model"));
}

TEST_F(Prior, NamesThePictureThatIsOfAnotherSize) {
  get();
  options_.pictures.size = 32;  // what it is anyway, but another record
  get();
  fs::copy_file(MOS_SOURCE_DIR "/docs/scene.png", place() / "0002.png",
                fs::copy_options::overwrite_existing);
  try {
    get();
    FAIL();
  } catch (const mos::Error& error) {
    EXPECT_EQ(error.kind(), mos::ErrorKind::kFormat);
    EXPECT_THAT(error.what(), HasSubstr("0002.png"));
  }
}

TEST_F(Prior, NeedsToKnowTheClass) {
  options_.words.class_word.clear();
  EXPECT_THROW(get(), mos::Error);
  options_.prior.prompt = "man";
  EXPECT_EQ(get()[0].caption.text, "man");
}

TEST_F(Prior, IsPartOfWhatARunIs) {
  auto dataset = tiny_dataset();
  const auto options = mos::tune::complete_options(options_, dataset);
  EXPECT_THROW(mos::tune::Trainer(base_, dataset, options), mos::Error);  // not painted
  dataset.prior = get();
  const auto with = mos::tune::identity_of(base_, dataset, options, 0);
  dataset.prior[0].pixels = dataset.prior[1].pixels;
  const auto other = mos::tune::identity_of(base_, dataset, options, 0);
  EXPECT_NE(with.data, other.data);
}

TEST_F(Prior, ComesInEveryBatchUnderItsOwnPromptAndWeight) {
  auto dataset = tiny_dataset();
  dataset.prior = get();
  options_.prior.weight = 0.25;
  mos::tune::Trainer trainer(base_, dataset, mos::tune::complete_options(options_, dataset));
  const auto batch = trainer.draw_batch(3);
  ASSERT_EQ(batch.latents.size(0), 4);
  EXPECT_TRUE(batch.weights.equal(torch::tensor({1.0F, 1.0F, 0.25F, 0.25F})));
  EXPECT_THAT(batch.prompts[0], HasSubstr("<fox1> <fox2>"));
  EXPECT_EQ(batch.prompts[2], "a photo of a man");
  EXPECT_FALSE(batch.has_subject[3]);

  options_.prior.pictures = 0;  // the same pictures and noise as without
  auto other = tiny_model();
  mos::tune::Trainer alone(other, dataset, mos::tune::complete_options(options_, dataset));
  const auto own = alone.draw_batch(3);
  EXPECT_TRUE(own.latents.equal(batch.latents.slice(0, 0, 2)));
  EXPECT_TRUE(own.timesteps.equal(batch.timesteps.slice(0, 0, 2)));
}

TEST_F(Prior, LossIsThatOfTheConceptAndTheWeightedOneOfTheClass) {
  const auto prediction = torch::tensor({1.0F, 2.0F, 3.0F}).view({3, 1, 1, 1}),
             mask = torch::ones({3, 1, 1, 1});
  const auto loss = mos::tune::masked_loss(prediction, torch::zeros({3, 1, 1, 1}), mask,
                                           torch::tensor({1.0F, 1.0F, 0.5F}));
  EXPECT_NEAR(loss.item<double>(), (1.0 + 4.0 + 0.5 * 9.0) / 3.0, 1e-6);
}

}  // namespace
