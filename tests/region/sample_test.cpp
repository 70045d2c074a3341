#include "mos/region/sample.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <span>
#include <stdexcept>

#include "mos/base/error.h"
#include "mos/region/region_size.h"
#include "tests/support/difference.h"
#include "tests/support/errors.h"
#include "tests/support/tiny_model.h"

namespace mos::region {
namespace {

using test::difference;
using test::kind_of;
using torch::Tensor;

constexpr double kTolerance = 1e-4;  // float32 through a few steps, in another order of sums

/// The tiny model with a layer-wise concept in it.
struct Studio {
  Studio() {
    torch::NoGradGuard no_grad;
    auto generator = seeded_generator(5);
    const concepts::ConceptWord fox{"<fox1>", randn({tokens.layers(), 16}, generator)};
    tokens.add(std::span(&fox, 1), model.towers);
  }

  Tensor latents(const Scene& scene, const SampleOptions& options,
                 const diffusion::StepCallback& on_step = {}, const CancelToken* cancel = nullptr) {
    return sample_latents(model, tokens, scene, options, {}, on_step, cancel);
  }

  bool has_processors() const {
    const auto& layers = model.unet->cross_attentions();
    return std::any_of(layers.begin(), layers.end(),
                       [](const auto& layer) { return layer->processor != nullptr; });
  }

  diffusion::Model model = tiny::model();
  concepts::ConceptTokens tokens{model.unet->cross_attention_count()};
};

SampleOptions quick() {
  SampleOptions options;
  options.steps = 3;
  options.guidance_scale = 3.0;
  options.seed = 4;
  return options;
}

Scene plain(const std::string& prompt, const std::string& negative = "") {
  return {prompt, negative, {}, std::nullopt};
}

Scene with_regions(std::vector<Region> regions) {
  return {"a b", "c", std::move(regions), std::nullopt};
}

TEST(Sample, ARegionOfTheWholeCanvasPaintsWhatItsPromptPaintsAlone) {
  Studio studio;
  const auto regional = studio.latents(with_regions({{"<fox1> cat", "d", Box{}, 1.0}}), quick());
  EXPECT_LT(difference(regional, studio.latents(plain("<fox1> cat", "d"), quick())), kTolerance);
  EXPECT_GT(difference(regional, studio.latents(plain("a b", "c"), quick())), 10 * kTolerance);
}

TEST(Sample, OverlappingRegionsOfOneTextAreThatText) {
  Studio studio;
  const Region top{"cat", "d", Box{.bottom = 0.75}, 1.0}, low{"cat", "d", Box{.top = 0.25}, 1.0};
  EXPECT_LT(difference(studio.latents(with_regions({top, low}), quick()),
                       studio.latents(plain("cat", "d"), quick())),
            kTolerance);
}

TEST(Sample, BoxesOffTheGridAreTheSameWithMasksAndWithout) {
  Studio studio;
  auto scene = with_regions({{"<fox1> cat", "d", Box{0.1, 0.05, 0.9, 0.45}, 1.0},
                             {"cat", "", Box{0.1, 0.55, 0.9, 0.95}, 1.0}});
  const auto plain_boxes = studio.latents(scene, quick());
  scene.overlap = "front";  // there is none, but the paper's rules do not know the word
  ASSERT_FALSE(scene.is_plain());
  EXPECT_LT(difference(studio.latents(scene, quick()), plain_boxes), kTolerance);
}

TEST(Sample, ASmallWeightIsNearTheContextAlone) {
  Studio studio;
  const auto context = studio.latents(plain("a b", "c"), quick());
  const auto far = [&](double weight) {
    return difference(studio.latents(with_regions({{"<fox1>", "", Box{}, weight}}), quick()),
                      context);
  };
  EXPECT_LT(far(0.01), 0.1 * far(1.0));
}

TEST(Sample, EveryDistinctPromptIsEncodedOnce) {
  Studio studio;
  std::int64_t texts = 0;
  for (const auto& module : studio.model.towers[0].encoder->modules()) {
    auto layer = std::dynamic_pointer_cast<nn::LoraLayer>(module);
    if (!layer) continue;
    layer->input_observer = [&texts](const Tensor& input) { texts += input.size(0); };
    break;  // any of its layers sees every text
  }
  const Box left{0, 0, 1, 0.5}, right{0, 0.5, 1, 1};
  auto scene = with_regions({{"a b", "c", left}, {"cat", "c", right}, {"cat", "c", left}});
  auto options = quick();
  options.pictures.hires = 2.0;  // a second pass reads them again
  options.pictures.hires_strength = 0.9;
  studio.latents(scene, options);
  EXPECT_EQ(texts, 3);  // a b, c, cat
  texts = 0;
  scene.regions[1].prompt = "(cat:1.2)";  // with weights, which are another reader
  studio.latents(scene, options);
  EXPECT_EQ(texts, 3);
}

TEST(Sample, TheProcessorIsGoneAfterwards) {
  Studio studio;
  const auto scene = with_regions({{"cat", "", Box{.bottom = 0.5}, 1.0}});
  bool seen = false;
  studio.latents(scene, quick(),
                 [&](const diffusion::DenoiseStep&) { seen = studio.has_processors(); });
  EXPECT_TRUE(seen);
  EXPECT_FALSE(studio.has_processors());
}

TEST(Sample, TheProcessorIsGoneAfterAnException) {
  Studio studio;
  const auto scene = with_regions({{"cat", "", Box{.bottom = 0.5}, 1.0}});
  const auto fail = [](const diffusion::DenoiseStep&) { throw std::runtime_error("stop"); };
  EXPECT_THROW(studio.latents(scene, quick(), fail), std::runtime_error);
  EXPECT_FALSE(studio.has_processors());

  CancelToken cancel;
  cancel.cancel();
  EXPECT_EQ(kind_of([&] { studio.latents(scene, quick(), {}, &cancel); }), ErrorKind::kCancelled);
  EXPECT_FALSE(studio.has_processors());
}

TEST(Sample, ABatchIsMadeOfThePicturesThatItsSeedsMakeAlone) {
  Studio studio;
  const auto scene = with_regions({{"<fox1>", "", Box{.right = 0.5}, 1.0}});
  for (const char* scheduler : {"dpm++", "ddpm"}) {  // the second draws noise at every step
    auto options = quick();
    options.scheduler = scheduler;
    options.count = 3;
    const auto batch = studio.latents(scene, options);
    options.count = 1;
    for (std::int64_t i = 0; i < 3; ++i) {
      EXPECT_LT(difference(batch.slice(0, i, i + 1), studio.latents(scene, options)), kTolerance);
      ++options.seed;
    }
  }
}

TEST(Sample, TheSameSeedPaintsTheSamePixels) {
  Studio studio;
  const auto scene = with_regions({{"cat", "", Box{.bottom = 0.5}, 1.0}});
  const auto once = sample_pictures(studio.model, studio.tokens, scene, quick());
  EXPECT_TRUE(torch::equal(once, sample_pictures(studio.model, studio.tokens, scene, quick())));
  EXPECT_EQ(once.sizes(), (std::vector<std::int64_t>{1, 16, 16, 3}));
}

TEST(Sample, WithoutGuidanceNegativePromptsDoNotMatter) {
  Studio studio;
  auto options = quick();
  options.guidance_scale = 1.0;
  EXPECT_EQ(difference(studio.latents(plain("cat", "a"), options),
                       studio.latents(plain("cat", "b"), options)),
            0.0);
}

TEST(Sample, ImpossibleSizesAndCountsAreRefused) {
  Studio studio;
  auto options = quick();
  options.width = 17;
  EXPECT_EQ(kind_of([&] { studio.latents(plain("cat"), options); }), ErrorKind::kUsage);
  options = quick();
  options.count = 0;
  EXPECT_EQ(kind_of([&] { studio.latents(plain("cat"), options); }), ErrorKind::kUsage);
  options = quick();
  options.steps = 0;
  EXPECT_EQ(kind_of([&] { studio.latents(plain("cat"), options); }), ErrorKind::kUsage);
}

TEST(Boxes, ThatNoLayerCanSeeAreRefusedByNumberAndPrompt) {
  // One latent position of the tiny model is 2x2 pixels, and the finest layer reads texts.
  Studio studio;
  const auto refusal = [&](const Box& box) -> std::string {
    auto scene = with_regions({{"a", "", {0.0, 0.0, 1.0, 0.5}}, {"b", "", box}});
    scene.canvas = Canvas{16, 32};
    try {
      check_boxes(studio.model, scene);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kUsage);
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(refusal(make_box({0, 0, 2, 2}, {16, 32})), "");
  EXPECT_EQ(refusal(make_box({14, 30, 16, 32}, {16, 32})), "");
  for (const auto& pixels : {std::vector<double>{0, 0, 1.5, 32}, {0, 0, 16, 1.5}, {1, 1, 3, 3}}) {
    const auto message = refusal(make_box(pixels, {16, 32}));
    EXPECT_NE(message.find("region 2 \"b\""), std::string::npos) << message;
    EXPECT_NE(message.find("2 x 2 pixels"), std::string::npos) << message;
  }
}

TEST(Boxes, AreMeasuredOnTheFinestLayerThatReadsTexts) {
  Studio studio;
  auto settings = tiny::settings();
  auto& config = settings.configs[checkpoint::Part::kUNet];
  config["down_block_types"] = {"DownBlock2D", "CrossAttnDownBlock2D"};
  config["up_block_types"] = {"CrossAttnUpBlock2D", "UpBlock2D"};
  studio.model = diffusion::Model::create(tiny::tokenizer(), settings);
  auto scene = with_regions({{"a", "", make_box({0, 0, 2, 2}, {16, 16})}});
  scene.canvas = Canvas{16, 16};
  EXPECT_THROW(check_boxes(studio.model, scene), Error);
  scene.regions[0].box = make_box({4, 4, 8, 8}, {16, 16});
  EXPECT_NO_THROW(check_boxes(studio.model, scene));
}

}  // namespace
}  // namespace mos::region
