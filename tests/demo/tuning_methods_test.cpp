#include <gmock/gmock.h>

#include "mos/demo/painter.h"
#include "mos/eval/clip_score.h"
#include "mos/nn/compute.h"
#include "mos/tune/plan.h"
#include "mos/tune/prior.h"
#include "mos/tune/trainer.h"
#include "mos/tune/tune.h"

/// Every way to tune, some steps of it on a sample concept of the embedded base: what it does to
/// the loss on pictures that stay the same, and to the eyes of the base's judge.
namespace {

using mos::tune::Trainer;
using mos::tune::TuneOptions;
using torch::Tensor;

const std::string kBase = MOS_SOURCE_DIR "/base";
constexpr std::int64_t kPictures = 4;

struct Case {
  const char* method;
  std::int64_t steps;
  /// Whether these steps are enough for the judge. Words, attention or neurons alone want hundreds
  /// on a base this small: of these the loss is promised.
  bool is_seen;
};

class TuningMethod : public ::testing::TestWithParam<Case> {
 protected:
  TuningMethod() {
    options_ = mos::tune::method_options(GetParam().method, kBase);
    options_.optimiser.steps = GetParam().steps;
    options_.optimiser.batch = 4;
    options_.optimiser.micro_batch = 2;
    options_.run.preview_pictures = 0;
    options_.prior.pictures = std::min<std::int64_t>(options_.prior.pictures, 4);
    options_.prior.steps = 8;
    options_ = mos::tune::complete_options(options_, dataset_);
    if (options_.prior.pictures > 0) {
      dataset_.prior = mos::tune::prior_pictures(base_, options_, {});
    }
    std::vector<Tensor> own;
    for (const auto& picture : dataset_.pictures) own.push_back(picture.pixels);
    references_ = judge_.image_embeds(torch::stack(own));
  }

  /// Of the concept's pictures in batches that the run does not come to.
  double loss(Trainer& trainer) {
    torch::NoGradGuard no_grad;
    trainer.attached().show(1.0);
    double sum = 0.0;
    constexpr std::int64_t kBatches = 4;
    for (std::int64_t i = 0; i < kBatches; ++i) {
      const auto drawn = trainer.draw_batch(100000 + i);
      const auto batch = mos::tune::part_of(drawn, 0, options_.optimiser.batch);
      const auto text = trainer.attached().encode(batch.prompts).to(base_.dtype());
      auto plain = options_.loss;
      plain.attention_weight = 0.0;
      sum += mos::tune::tuning_terms(trainer.attached(), base_.schedule, batch, text, plain)
                 .denoising.item<double>();
    }
    return sum / kBatches;
  }

  /// How much painted pictures of `phrase` are like the concept's.
  double alignment(const mos::concepts::ConceptDelta* delta, const std::string& phrase) {
    auto painter = mos::demo::open_painter(kBase, base_.dtype(), delta);
    mos::region::SampleOptions sample;
    sample.steps = 12;
    sample.guidance_scale = 2.5;
    sample.count = kPictures;
    const auto painted = mos::demo::paint(painter, "a photo of a " + phrase, sample);
    return mos::eval::image_alignment(judge_.image_embeds(painted), references_).all_pairs;
  }

  mos::diffusion::Model base_ =
      mos::diffusion::Model::load(kBase, {.dtype = mos::nn::dtype_named("auto")});
  mos::tune::ConceptDataset dataset_ = mos::tune::load_dataset(kBase + "/concepts/wizard");
  mos::eval::ClipScorer judge_ = mos::eval::ClipScorer::load_judge(kBase);
  TuneOptions options_;
  Tensor references_;
};

TEST_P(TuningMethod, LowersTheLossAndWhereItIsSeenBringsPicturesNearerToTheConcept) {
  double before = 0.0, after = 0.0;
  mos::concepts::ConceptDelta delta;
  {
    Trainer trainer(base_, dataset_, options_);
    before = loss(trainer);
    for (std::int64_t i = 0; i < options_.optimiser.steps; ++i) trainer.step();
    after = loss(trainer);
    delta = trainer.attached().snapshot();
  }
  std::printf("%s: loss %.4f -> %.4f\n", GetParam().method, before, after);
  EXPECT_LT(after, before);
  if (!GetParam().is_seen) return;
  const double as_class = alignment(nullptr, options_.words.class_word);
  const double as_concept = alignment(&delta, mos::tune::concept_phrase(options_.words));
  std::printf("image alignment %.4f -> %.4f\n", as_class, as_concept);
  EXPECT_GT(as_concept, as_class);
}

INSTANTIATE_TEST_SUITE_P(
    Methods, TuningMethod,
    ::testing::Values(Case{"ed_lora", 40, true}, Case{"custom_diffusion", 40, true},
                      Case{"dreambooth", 30, true}, Case{"orthogonal_adaptation", 40, true},
                      Case{"ed_lora_paper", 15, false}, Case{"lora", 15, false},
                      Case{"p_plus", 15, false}, Case{"textual_inversion", 15, false},
                      Case{"svdiff", 8, false}, Case{"cones", 40, false}),
    [](const auto& which) { return std::string(which.param.method); });

}  // namespace
