#include "mos/region/guide.h"

#include <c10/core/GradMode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <span>

#include "mos/base/error.h"
#include "mos/region/sample.h"
#include "mos/region/steering.h"
#include "tests/support/difference.h"
#include "tests/support/tiny_model.h"

namespace mos::region {
namespace {

using test::difference;
using torch::Tensor;

/// The tiny model, which has a word of its own, and pictures of it.
class Guided : public testing::Test {
 protected:
  Guided() {
    auto generator = seeded_generator(5);
    const concepts::ConceptWord fox{"<fox1>", randn({tokens_.layers(), 16}, generator)};
    tokens_.add(std::span(&fox, 1), model_.towers);
    options_.steps = 4;
    options_.guidance_scale = 3.0;
    options_.height = options_.width = 32;
    options_.seed = 4;
    scene_.prompt = "a cat b <fox1>";
    scene_.canvas = Canvas{32, 32};
  }

  Tensor painted(Guide guide) {
    auto options = options_;
    options.sampler.guide = guide;
    return sample_latents(model_, tokens_, scene_, options);
  }

  void add_region(const std::string& subject, Box box) {
    Region region;
    region.subject = subject;
    region.box = box;
    scene_.regions.push_back(region);
  }
  void add_both() {
    add_region("cat", {0, 0, 1, 0.5});
    add_region("<fox1>", {0, 0.5, 1, 1});
  }

  torch::NoGradGuard no_grad_;
  diffusion::Model model_ = tiny::model();
  concepts::ConceptTokens tokens_{model_.unet->cross_attention_count()};
  Scene scene_;
  SampleOptions options_;
};

TEST_F(Guided, AGuideMovesThePictureAndLeavesTheModelAsItWas) {
  const auto plain = painted(Guide::kNone);
  options_.sampler.subjects = {"cat"};
  const auto moved = painted(Guide::kAttend);
  EXPECT_GT(difference(moved, plain), 1e-3);
  EXPECT_TRUE(torch::equal(moved, painted(Guide::kAttend)));
  options_.sampler.subjects = {};
  EXPECT_TRUE(torch::equal(plain, painted(Guide::kNone)));
  for (const auto& [place, layer] : attention_layers(model_.unet)) {
    EXPECT_EQ(layer->processor, nullptr) << place.name;
  }
  for (const auto& parameter : model_.unet->parameters()) EXPECT_TRUE(parameter.requires_grad());
}

TEST_F(Guided, ScaleZeroIsThePlainPicture) {
  const auto plain = painted(Guide::kNone);
  options_.sampler.guide_scale = 0.0;
  EXPECT_LT(difference(painted(Guide::kAttend), plain), 1e-6);
}

TEST_F(Guided, APictureDoesNotDependOnItsBatch) {
  options_.count = 2;
  const auto both = painted(Guide::kAttend);
  options_.count = 1;
  EXPECT_LT(difference(both.slice(0, 0, 1), painted(Guide::kAttend)), 1e-4);
  options_.seed += 1;
  EXPECT_LT(difference(both.slice(0, 1), painted(Guide::kAttend)), 1e-4);
}

TEST_F(Guided, WhatIsImpossibleIsSaid) {
  EXPECT_THROW(painted(Guide::kLayout), Error);  // has no places
  options_.sampler.subjects = {"dog"};
  EXPECT_THROW(painted(Guide::kAttend), Error);  // does not stand in the prompt
  options_.sampler.subjects = {};
  scene_.prompt = "a cat";
  EXPECT_THROW(painted(Guide::kAttend), Error);  // calls no concept
}

TEST_F(Guided, UniPcIsRefusedSinceItWouldUndoTheMoves) {
  options_.scheduler = "unipc";
  EXPECT_THROW(painted(Guide::kAttend), Error);
  options_.sampler.guide_scale = 0.0;  // moves nothing
  EXPECT_NO_THROW(painted(Guide::kAttend));
}

/// A step of gradient descent on each guide's loss makes that loss smaller.
class EveryGuide : public Guided, public testing::WithParamInterface<Guide> {
 protected:
  /// The loss at `sample` and its gradient.
  std::pair<double, Tensor> look(const Tensor& sample) {
    const c10::AutoGradMode with_gradients(true);
    const auto guide = guide_info(GetParam()).make();
    const auto text = encode_scene(model_, tokens_, scene_, options_).cond;
    const nn::FeatureSize latents{sample.size(2), sample.size(3)};
    AttentionObserver observer(model_.unet, {{text.context}}, latents,
                               [&](const LayerPlace& place) {
                                 return guide->looks_at(place, guide_level(model_.unet, latents));
                               });
    const auto leaf = sample.detach().clone().requires_grad_(true);
    model_.unet->forward(leaf, torch::full({1}, 500.0), text);
    Seen seen{observer.take(), {}};
    // Beside each other, with some of the canvas left: bounded attention is about that.
    const RegionShape left{.mask = {}, .box = Box{.right = 0.5}};
    const RegionShape right{.mask = {}, .box = Box{.left = 0.625}};
    seen.subjects = {{"cat", 0, {2}, left}, {"fox", 0, {4}, right}};
    const auto loss = guide->loss(seen);
    return {loss.item<double>(), torch::autograd::grad({loss}, {leaf}).front()};
  }
};

TEST_P(EveryGuide, LossFallsAlongItsGradient) {
  auto generator = seeded_generator(8);
  const auto sample = randn({1, 4, 16, 16}, generator);
  const auto [loss, gradient] = look(sample);
  const double squared = gradient.square().sum().item<double>();
  ASSERT_GT(squared, 0.0);
  const double step = 1e-3 * loss / squared;  // a thousandth of it, to first order
  EXPECT_NEAR(loss - look(sample - step * gradient).first, 1e-3 * loss, 3e-4 * loss);
}

TEST_P(EveryGuide, PaintsRegionsOfThePromptsOwnWords) {
  add_both();
  const auto plain = painted(Guide::kNone);
  const auto guided = painted(GetParam());
  EXPECT_TRUE(guided.isfinite().all().item<bool>());
  EXPECT_GT(difference(guided, plain), 1e-3);
}

INSTANTIATE_TEST_SUITE_P(All, EveryGuide,
                         testing::Values(Guide::kAttend, Guide::kLayout, Guide::kBounded,
                                         Guide::kComposer),
                         [](const auto& which) { return choice_name(which.param); });

TEST_F(Guided, ARegionOfAWordDoesNotReadTheOthers) {
  add_region("cat", {0, 0, 1, 1});
  const auto whole = painted(Guide::kNone);
  scene_.regions.clear();
  EXPECT_LT(difference(whole, painted(Guide::kNone)), 1e-4);  // nothing is hidden from it
  add_region("cat", {0, 0, 1, 1});
  add_region("<fox1>", {0, 0, 0.5, 0.5});
  scene_.overlap = "front";  // the first covers all, and does not read the second's word
  EXPECT_GT(difference(whole, painted(Guide::kNone)), 1e-3);
}

}  // namespace
}  // namespace mos::region
