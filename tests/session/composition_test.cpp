#include "mos/session/composition.h"

#include <gtest/gtest.h>

#include "mos/base/error.h"
#include "mos/base/random.h"
#include "mos/concepts/lora.h"
#include "mos/nn/linear.h"
#include "tests/support/difference.h"
#include "tests/support/tiny_model.h"

namespace mos::session {
namespace {

using checkpoint::Part;
using concepts::LowRank;
using region::Compose;
using test::difference;
using torch::Tensor;

constexpr std::int64_t kTexts = 4;  // the cross-attention layers of the tiny model

/// A concept that is called `word` and changes all of attention, as Mix-of-Show tunes it.
HeldConcept make_concept(const std::string& word, std::uint64_t seed) {
  auto generator = seeded_generator(seed);
  HeldConcept made{.name = word, .delta = {}, .scale = 0.8};
  made.delta.words.push_back({word, randn({kTexts, 16}, generator)});
  auto model = tiny::model();
  for (const auto part : model.tuned_parts()) {
    nn::for_each_lora_layer(
        *model.network(part), [&](const std::string& name, const nn::LoraLayer& layer) {
          const bool is_attention = name.find("attn") != name.npos && layer.weight.dim() == 2;
          if (!is_attention) return;
          made.delta.updates[part][name] =
              LowRank{.down = 0.3 * randn({2, layer.in_features()}, generator),
                      .up = 0.3 * randn({layer.out_features(), 2}, generator)};
        });
  }
  return made;
}

class Composed : public testing::Test {
 protected:
  Composed() {
    options_.steps = 3;
    options_.height = options_.width = 16;
    options_.guidance_scale = 3.0;
    scene_.canvas = region::Canvas{16, 16};
    scene_.prompt = "a";
  }

  /// A session whose concepts are apart, or in the weights.
  static Session open(const std::vector<HeldConcept>& held, Compose compose) {
    Session session{.model = tiny::model(), .tokens = concepts::ConceptTokens(kTexts)};
    for (const auto& one : held) {
      session.tokens.add(one.delta.words, session.model.towers);
      session.guests.push_back({one.name, {one.name}, {""}, ""});
      if (compose == Compose::kMerged) {
        concepts::merge_concept(session.model, one.delta, one.scale, one.name);
      }
    }
    if (compose != Compose::kMerged) session.apart = held;
    return session;
  }

  Tensor painted(Session& session, Compose compose) {
    auto options = options_;
    options.sampler.compose = compose;
    const Composition composition(session, scene_, options);
    return region::sample_latents(session.model, session.tokens, scene_, options,
                                  composition.of_scene({}));
  }

  Tensor painted(const std::vector<HeldConcept>& held, Compose compose) {
    auto session = open(held, compose);
    return painted(session, compose);
  }

  void add_region(const std::string& prompt, region::Box box) {
    region::Region region;
    region.prompt = prompt;
    region.box = box;
    scene_.regions.push_back(region);
  }

  torch::NoGradGuard no_grad_;
  region::Scene scene_;
  region::SampleOptions options_;
  HeldConcept cat_ = make_concept("<cat1>", 3), dog_ = make_concept("<dog1>", 4);
};

TEST_F(Composed, AConceptWhoseRegionIsTheWholeCanvasIsPaintedAsIfMerged) {
  add_region("<cat1> b", {});
  const auto merged = painted({cat_}, Compose::kMerged);
  for (const auto compose : {Compose::kOwn, Compose::kText, Compose::kLayers}) {
    EXPECT_LT(difference(painted({cat_}, compose), merged), 1e-3) << choice_name(compose);
  }
}

TEST_F(Composed, AConceptOfAllLayersWhoseRegionIsTheWholeCanvasIsPaintedAsIfMerged) {
  auto generator = seeded_generator(6);
  auto model = tiny::model();
  nn::for_each_lora_layer(*model.unet, [&](const std::string& name, const nn::LoraLayer& layer) {
    if (name.find("attn") != name.npos) return;
    auto down = layer.weight.sizes().vec(), up = down;
    down[0] = up[1] = 2;
    std::fill(up.begin() + 2, up.end(), 1);
    cat_.delta.updates[Part::kUNet][name] =
        LowRank{.down = 0.1 * randn(down, generator), .up = 0.1 * randn(up, generator)};
  });
  add_region("<cat1> b", {});
  const auto merged = painted({cat_}, Compose::kMerged);
  EXPECT_LT(difference(painted({cat_}, Compose::kOwn), merged), 1e-3);
}

TEST_F(Composed, WithoutRegionsAConceptIsPaintedAsIfMerged) {
  scene_.prompt = "<cat1> b";
  EXPECT_LT(difference(painted({cat_}, Compose::kOwn), painted({cat_}, Compose::kMerged)), 1e-3);
}

TEST_F(Composed, AConceptThatNoRegionCallsIsEverywhere) {
  scene_.prompt = "<cat1>";
  add_region("<dog1>", {0, 0, 1, 1});
  const auto together = painted({cat_, dog_}, Compose::kOwn);
  EXPECT_LT(difference(together, painted({cat_, dog_}, Compose::kMerged)), 1e-3);
}

TEST_F(Composed, ARegionIsReadWithItsOwnConceptAlone) {
  add_region("<cat1> b", {0, 0, 1, 0.5});
  add_region("<dog1> b", {0, 0.5, 1, 1});
  auto session = open({cat_, dog_}, Compose::kOwn);
  auto options = options_;
  options.sampler.compose = Compose::kOwn;
  const Composition composition(session, scene_, options);
  const auto texts = composition.of_scene({}).texts.value();
  const HeldConcept held[] = {cat_, dog_};
  for (std::size_t i = 0; i < 2; ++i) {
    auto alone = open({cat_, dog_}, Compose::kOwn);  // the words of both, the weights of one
    concepts::merge_lora(*alone.model.towers[0].encoder, held[i].delta.of(Part::kTextEncoder),
                         held[i].scale, "the test");
    const auto expected = region::encode_scene(alone.model, alone.tokens, scene_, options);
    EXPECT_LT(difference(texts.regions[i].text.context, expected.regions[i].text.context), 1e-5);
    EXPECT_GT(difference(texts.regions[i].text.context, expected.regions[1 - i].text.context), 0.1);
  }
}

TEST_F(Composed, EachHalfMattersToAPictureOfTwo) {
  add_region("<cat1> b", {0, 0, 1, 0.5});
  add_region("<dog1> b", {0, 0.5, 1, 1});
  const auto composed = painted({cat_, dog_}, Compose::kOwn);
  EXPECT_GT(difference(composed, painted({cat_, dog_}, Compose::kMerged)), 1e-2);
  EXPECT_GT(difference(composed, painted({cat_, dog_}, Compose::kText)), 1e-3);
  EXPECT_GT(difference(composed, painted({cat_, dog_}, Compose::kLayers)), 1e-3);
}

TEST_F(Composed, TheWeightsComeBackBitForBit) {
  add_region("<cat1> b", {0, 0, 1, 0.5});
  auto session = open({cat_, dog_}, Compose::kOwn);
  painted(session, Compose::kText);
  const auto untouched = tiny::model();
  for (const auto part : untouched.tuned_parts()) {
    const auto before = untouched.network(part)->named_parameters();
    for (const auto& parameter : session.model.network(part)->named_parameters()) {
      EXPECT_TRUE(torch::equal(parameter.value(), before[parameter.key()])) << parameter.key();
    }
  }
}

TEST_F(Composed, ConceptsThatTakeTurnsAreInTheWeightsOneAfterTheOther) {
  scene_.prompt = "<cat1> and <dog1>";
  auto session = open({cat_, dog_}, Compose::kSwitch);
  options_.sampler.switch_every = 2;
  options_.steps = 5;
  const std::string watched = "up_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k";
  const auto weight_with = [&](const HeldConcept& held) {
    auto model = tiny::model();
    concepts::merge_lora(*model.unet, held.delta.of(Part::kUNet), held.scale, "the test");
    return model.unet->named_parameters()[watched + ".weight"].clone();
  };
  std::string seen;
  nn::for_each_lora_layer(*session.model.unet, [&](const std::string& name, nn::LoraLayer& layer) {
    if (name != watched) return;
    layer.input_observer = [&](const Tensor&) {
      const bool is_cat = difference(layer.weight, weight_with(cat_)) < 1e-5;
      seen += is_cat ? "c" : difference(layer.weight, weight_with(dog_)) < 1e-5 ? "d" : "?";
    };
  });
  auto options = options_;
  options.sampler.compose = Compose::kSwitch;
  Composition composition(session, scene_, options);
  for (int picture = 0; picture < 2; ++picture) {
    seen.clear();
    region::sample_latents(session.model, session.tokens, scene_, options, composition.of_scene({}),
                           composition.with_turns({}));
    EXPECT_EQ(seen, "ccddc");
  }
  // Two calls a step, the last step one; a second pass begins with the first concept again.
  options.scheduler = "heun";
  options.pictures = {.hires = 2.0, .hires_strength = 0.6};
  seen.clear();
  region::sample_latents(session.model, session.tokens, scene_, options, composition.of_scene({}),
                         composition.with_turns({}));
  EXPECT_EQ(seen,
            "ccccddddc"
            "ccccd");
}

TEST_F(Composed, TurnsAreNotForRegions) {
  add_region("<cat1>", {});
  auto session = open({cat_}, Compose::kSwitch);
  EXPECT_THROW(painted(session, Compose::kSwitch), Error);
}

TEST_F(Composed, ASessionWithMergedConceptsRefusesToComposeThem) {
  add_region("<cat1>", {});
  auto session = open({cat_}, Compose::kMerged);
  EXPECT_THROW(painted(session, Compose::kOwn), Error);
}

TEST_F(Composed, CompositeIsTheMeanOfWhatTheNetworkSaysWithEach) {
  scene_.prompt = "<cat1> <dog1>";
  options_.steps = 1;  // of a scheduler that is linear in what the network says
  options_.scheduler = "ddim";
  const auto one = [&](const HeldConcept& alone) {
    auto session = open({cat_, dog_}, Compose::kComposite);
    auto absent = alone.name == "<cat1>" ? 1 : 0;  // heard by the text encoder alone
    session.apart[static_cast<std::size_t>(absent)].delta.updates.erase(Part::kUNet);
    session.guests[static_cast<std::size_t>(absent)].words = {"<none>"};
    session.guests[static_cast<std::size_t>(absent)].aliases = {};
    return painted(session, Compose::kComposite);
  };
  const auto mean = (one(cat_) + one(dog_)) / 2.0;
  auto session = open({cat_, dog_}, Compose::kComposite);
  const auto composite = painted(session, Compose::kComposite);
  EXPECT_LT(difference(composite, mean), 1e-4);
  EXPECT_GT(difference(composite, painted({cat_, dog_}, Compose::kMerged)), 1e-3);
  const auto untouched = tiny::model();
  const auto before = untouched.network(Part::kUNet)->named_parameters();
  for (const auto& parameter : session.model.unet->named_parameters()) {
    EXPECT_TRUE(torch::equal(parameter.value(), before[parameter.key()])) << parameter.key();
  }
}

TEST_F(Composed, ARegionOfAWordHasTheConceptOfThatWordAlone) {
  scene_.prompt = "<cat1> b <dog1>";
  scene_.overlap = "front";
  for (const char* subject : {"<cat1>", "<dog1>"}) {  // the first covers the second
    add_region("", {});
    scene_.regions.back().subject = subject;
  }
  const auto composed = painted({cat_, dog_}, Compose::kOwn);
  EXPECT_GT(difference(composed, painted({cat_, dog_}, Compose::kMerged)), 1e-2);
  dog_.delta.updates.clear();
  EXPECT_LT(difference(composed, painted({cat_, dog_}, Compose::kOwn)), 1e-4);
}

}  // namespace
}  // namespace mos::session
