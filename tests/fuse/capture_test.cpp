#include <gmock/gmock.h>

#include "mos/base/error.h"
#include "mos/fuse/capture_again.h"
#include "mos/fuse/gram_store.h"
#include "mos/io/state_dict.h"
#include "tests/support/tiny_model.h"

namespace {

using mos::concepts::ConceptTokens;
using mos::fuse::ConceptPrompts;
using mos::fuse::InputGram;
using mos::fuse::TextFit;

ConceptTokens add_cat(mos::diffusion::Model& model) {
  auto generator = mos::seeded_generator(3);
  const auto layers = model.unet->cross_attention_count();
  ConceptTokens tokens(layers);
  const std::array words = {
      mos::concepts::ConceptWord{"<cat1>", mos::randn({layers, 16}, generator)},
      mos::concepts::ConceptWord{"<cat2>", mos::randn({layers, 16}, generator)}};
  tokens.add(words, model.towers);
  return tokens;
}

const ConceptPrompts kOfficial = {.prompts = {"a <cat1> <cat2>", "<cat1> <cat2>"}};

TEST(InputSite, IsOneForLayersThatShareTheirInput) {
  using mos::fuse::input_site;
  EXPECT_EQ(input_site("a.attn1.to_q"), input_site("a.attn1.to_v"));
  EXPECT_EQ(input_site("a.attn2.to_k"), input_site("a.attn2.to_v"));
  EXPECT_NE(input_site("a.attn2.to_q"), input_site("a.attn2.to_k"));
  EXPECT_NE(input_site("a.attn1.to_q"), input_site("b.attn1.to_q"));
  EXPECT_EQ(input_site("a.self_attn.q_proj"), input_site("a.self_attn.k_proj"));
  EXPECT_EQ(input_site("a.attn1.to_out.0"), "a.attn1.to_out.0");
}

TEST(InputRecorder, SeesWhatTheLayersSeeAndLetsGo) {
  const torch::NoGradGuard no_grad;
  mos::nn::Linear layer(3, 2, mos::nn::Bias::kNone);
  layer->weight.zero_();
  torch::nn::Module parent;
  parent.register_module("proj", layer);
  const auto rows = torch::arange(12, torch::kFloat32).view({2, 2, 3});
  {
    const mos::fuse::InputRecorder recorder(parent, {"proj"});
    layer(rows);
    EXPECT_EQ(recorder.grams().at("proj").rows(), 4);
    const auto flat = rows.view({4, 3}).to(torch::kFloat64);
    EXPECT_TRUE(torch::allclose(recorder.grams().at("proj").matrix(), flat.t().matmul(flat)));
  }
  EXPECT_FALSE(layer->input_observer);
  EXPECT_THROW(mos::fuse::InputRecorder(parent, {"other"}), mos::Error);
  EXPECT_FALSE(layer->input_observer);
}

TEST(Capture, TextEncoderLayersSeeEveryTokenOfEveryLayersText) {
  auto model = mos::tiny::model();
  const auto tokens = add_cat(model);
  const mos::fuse::LayerNames layers = {"text_model.encoder.layers.0.self_attn.q_proj"};
  const auto rows = [&](TextFit fit) {
    auto shown = kOfficial;
    shown.fit = fit;
    return capture_tower(model.towers[0], tokens, shown, layers).begin()->second.rows();
  };
  const auto texts = model.unet->cross_attention_count();
  EXPECT_EQ(rows(TextFit::kWords), texts * (5 + 4));  // with start and end tokens
  EXPECT_EQ(rows(TextFit::kPadded), texts * 2 * model.tokenizer().model_max_length());
}

TEST(Capture, KeysAndValuesSeeTheWordsAndTheEndToken) {
  auto model = mos::tiny::model();
  const auto tokens = add_cat(model);
  mos::fuse::LayerNames layers;
  for (const auto& name : model.unet->cross_attention_names()) layers.insert(name + ".to_k");
  const auto grams = capture_cross_attention(model, tokens, kOfficial, layers);
  EXPECT_EQ(grams.size(), layers.size());

  // Layer 2 reads the texts with row 2.
  const torch::NoGradGuard no_grad;
  const auto third = model.unet->cross_attention_names()[2];
  const auto samples = grams.at(mos::fuse::input_site(third + ".to_k")).samples();
  ASSERT_TRUE(samples.defined());
  const std::array text = {tokens.bind("<cat1> <cat2>")[2]};
  const auto ids = token_ids(model.tokenizer(), text, mos::diffusion::Padding::kNone);
  const auto states = model.towers[0].encoder(ids).last_hidden_state[0];
  ASSERT_EQ(samples.size(0), 6);
  EXPECT_TRUE(
      torch::allclose(samples.slice(0, 3), states.slice(0, 1).to(torch::kFloat64), 1e-5, 1e-6));
}

/// Of the text encoder as it is, [S,C]; of layer-wise texts those of the first layer.
torch::Tensor states_of(mos::diffusion::Model& model, const ConceptTokens& tokens,
                        const std::string& prompt) {
  const torch::NoGradGuard no_grad;
  const std::array text = {tokens.bind(prompt).front()};
  const auto ids = token_ids(model.tokenizer(), text, mos::diffusion::Padding::kNone);
  return model.towers[0].encoder(ids).last_hidden_state[0].to(torch::kFloat64);
}

TEST(Capture, FromAConceptsWordsToTheEndAPlainClassWordBehindThemIsSeen) {
  auto model = mos::tiny::model();
  const auto tokens = add_cat(model);
  const auto layer = model.unet->cross_attention_names().front() + ".to_k";
  const auto seen = [&](const ConceptPrompts& shown) {
    return capture_cross_attention(model, tokens, shown, {layer}).begin()->second.samples();
  };
  // start, a, <cat1>, cat, at (2 tokens), end
  const ConceptPrompts own = {.prompts = {"a <cat1> cat at"}};
  const auto states = states_of(model, tokens, own.prompts.front());
  auto to_end = own;
  to_end.words_to_end = true;
  const auto ends = torch::cat({states.slice(0, 2, 3), states.slice(0, -1)});
  EXPECT_TRUE(torch::allclose(seen(own), ends, 1e-5, 1e-6));
  ASSERT_EQ(seen(to_end).size(0), 5);
  EXPECT_TRUE(torch::allclose(seen(to_end), states.slice(0, 2), 1e-5, 1e-6));
}

TEST(Capture, AConceptWithoutWordsIsFittedAtItsTriggerWords) {
  auto model = mos::tiny::model();
  const ConceptTokens tokens(model.unet->cross_attention_count());
  const auto layer = model.unet->cross_attention_names().front() + ".to_v";
  const ConceptPrompts shown = {.prompts = {"a b cat at sea"}, .trigger = "b cat"};
  const auto grams = capture_cross_attention(model, tokens, shown, {layer});
  const auto samples = grams.begin()->second.samples();

  // start, a, b, cat, at (2 tokens), sea (3 tokens), end
  const auto states = states_of(model, tokens, shown.prompts.front());
  const auto expected = torch::cat({states.slice(0, 2, 4), states.slice(0, -1)});
  ASSERT_EQ(samples.sizes(), expected.sizes());
  EXPECT_TRUE(torch::allclose(samples, expected, 1e-5, 1e-6));

  auto to_end = shown;
  to_end.words_to_end = true;
  const auto whole = capture_cross_attention(model, tokens, to_end, {layer}).begin()->second;
  EXPECT_TRUE(torch::allclose(whole.samples(), states.slice(0, 2), 1e-5, 1e-6));

  const ConceptPrompts other = {.prompts = {"a dog"}, .trigger = "b cat"};
  EXPECT_THROW(capture_cross_attention(model, tokens, other, {layer}), mos::Error);
}

TEST(Capture, SamplingShowsUNetLayersEveryStep) {
  auto model = mos::tiny::model();
  const auto tokens = add_cat(model);
  auto generator = mos::seeded_generator(4);
  const auto noise = mos::randn({2, 4, 8, 8}, generator);
  const auto layer = model.unet->cross_attention_names().front() + ".to_q";
  const auto both = mos::fuse::capture_unet(
      model, tokens, {.prompt = "a <cat1> <cat2>", .noise = noise, .steps = 3}, {layer});
  EXPECT_EQ(both.grams.at(layer).rows(), 2 * 3 * 64);
  EXPECT_EQ(both.latents.sizes(), noise.sizes());

  // Pictures are sampled one by one, so what several show is the sum.
  InputGram sum(both.grams.at(layer).in_features());
  for (const auto& one : noise.split(1)) {
    const auto alone = mos::fuse::capture_unet(
        model, tokens, {.prompt = "a <cat1> <cat2>", .noise = one, .steps = 3}, {layer});
    sum.merge(alone.grams.at(layer));
  }
  EXPECT_TRUE(torch::allclose(sum.matrix(), both.grams.at(layer).matrix()));
}

/// Layers of every kind: they read pixels, patches of them, and the timestep.
const mos::fuse::LayerNames kAllKinds = {
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q",
    "down_blocks.0.attentions.0.proj_in", "down_blocks.0.resnets.0.conv1",
    "down_blocks.0.resnets.0.time_emb_proj"};

TEST(Capture, WithGuidanceIsOfThePromptAlone) {
  auto model = mos::tiny::model();
  const auto tokens = add_cat(model);
  auto generator = mos::seeded_generator(4);
  const mos::fuse::SamplingRun run{.prompt = "a <cat1> <cat2>",
                                   .noise = mos::randn({2, 4, 8, 8}, generator),
                                   .steps = 3,
                                   .guidance_scale = 3.0,
                                   .at_once = 2};
  const auto guided = capture_unet(model, tokens, run, kAllKinds).grams;
  // The same latents once more, through the network with the prompt and nothing else.
  std::vector<mos::diffusion::NetworkCall> calls;
  sample_latents(model, tokens, run,
                 {.predict = [&](const mos::diffusion::NetworkCall& call,
                                 const mos::diffusion::Network& network) {
                   calls.push_back(call);
                   return network(call);
                 }});
  const torch::NoGradGuard no_grad;
  const mos::fuse::InputRecorder recorder(*model.unet, kAllKinds);
  for (const auto& call : calls) {
    ASSERT_TRUE(call.has_both_halves);
    model.unet->forward(call.input.narrow(0, 2, 2), call.timestep, call.text.narrow(2, 2));
  }
  ASSERT_EQ(guided.size(), kAllKinds.size());
  for (const auto& [site, gram] : recorder.grams()) {
    EXPECT_EQ(guided.at(site).rows(), gram.rows()) << site;
    EXPECT_TRUE(torch::allclose(guided.at(site).matrix(), gram.matrix(), 1e-4, 1e-5)) << site;
  }
}

TEST(Capture, CaptionsAreSeenFromTheirFirstWordToTheEndAsFarAsIsRead) {
  const auto model = mos::tiny::model();
  const std::array captions = {std::string("cat"), std::string("a b c d e f g h i j k l m n")};
  const auto gram = mos::fuse::capture_captions(model, captions);
  EXPECT_EQ(gram.rows(), 2 + (model.tokenizer().model_max_length() - 1));
}

/// One LoRA for each layer.
mos::concepts::LayerUpdates random_updates(torch::nn::Module& network,
                                           const mos::fuse::LayerNames& layers) {
  auto generator = mos::seeded_generator(9);
  mos::concepts::LayerUpdates updates;
  mos::nn::for_each_lora_layer(network, [&](const std::string& name, mos::nn::LoraLayer& layer) {
    if (!layers.contains(name)) return;
    updates[name] =
        mos::concepts::LowRank{.down = 0.3 * mos::randn({2, layer.in_features()}, generator),
                               .up = 0.3 * mos::randn({layer.out_features(), 2}, generator)};
  });
  return updates;
}

void expect_moments(const mos::fuse::SitePairs& pairs, const mos::fuse::SiteGrams& own) {
  ASSERT_EQ(pairs.size(), own.size());
  for (const auto& [site, gram] : own) {
    EXPECT_TRUE(torch::allclose(pairs.at(site).again, gram.matrix(), 1e-4, 1e-6)) << site;
    EXPECT_TRUE(torch::allclose(pairs.at(site).cross, gram.matrix(), 1e-4, 1e-6)) << site;
  }
}

TEST(CaptureAgain, AMergedModelThatIsTheConceptsOwnSeesTheSame) {
  auto model = mos::tiny::model();
  const auto tokens = add_cat(model);
  const mos::fuse::LayerNames text_layers = {"text_model.encoder.layers.0.self_attn.q_proj",
                                             "text_model.encoder.layers.1.self_attn.out_proj"};
  const auto text = random_updates(*model.towers[0].encoder, text_layers);
  const mos::fuse::TwoStates text_states = {{&text, 1.0, "own"}, {&text, 1.0, "merged"}};
  const auto text_pairs =
      capture_tower_again(model.towers[0], tokens, kOfficial, text_states, text_layers);
  {
    const mos::concepts::ScopedMerge merged(*model.towers[0].encoder, text, 1.0, "own");
    expect_moments(text_pairs, capture_tower(model.towers[0], tokens, kOfficial, text_layers));
  }

  const auto attention = model.unet->cross_attention_names().front();
  const mos::fuse::LayerNames layers = {attention + ".to_q", attention + ".to_out.0"};
  const auto unet = random_updates(*model.unet, layers);
  auto generator = mos::seeded_generator(4);
  mos::fuse::SamplingRun run{
      .prompt = "a <cat1> <cat2>", .noise = mos::randn({1, 4, 8, 8}, generator), .steps = 3};
  for (const double guidance : {1.0, 3.0}) {
    run.guidance_scale = guidance;
    const auto pairs = capture_unet_again(model, tokens, run,
                                          {{&unet, 1.0, "own"}, {&unet, 1.0, "merged"}}, layers);
    const mos::concepts::ScopedMerge merged(*model.unet, unet, 1.0, "own");
    expect_moments(pairs, capture_unet(model, tokens, run, layers).grams);
  }
}

TEST(CaptureAgain, PairsRowsOfTheSamePlaceAndLeavesTheModelAsItWas) {
  auto model = mos::tiny::model();
  const auto tokens = add_cat(model);
  const mos::fuse::LayerNames layers = {"text_model.encoder.layers.0.self_attn.q_proj",
                                        "text_model.encoder.layers.1.self_attn.q_proj"};
  const auto own = random_updates(*model.towers[0].encoder, layers);
  const mos::concepts::LayerUpdates none;
  const auto before = mos::io::state_dict_of(*model.towers[0].encoder).begin()->second.clone();
  const auto pairs = capture_tower_again(model.towers[0], tokens, kOfficial,
                                         {{&own, 1.0, "own"}, {&none, 1.0, "base"}}, layers);
  // The first layer reads the same in both states, the second what the first one made of it.
  const auto& first = pairs.at(mos::fuse::input_site(*layers.begin()));
  EXPECT_TRUE(torch::allclose(first.cross, first.again, 1e-6, 1e-6));
  const auto& second = pairs.at(mos::fuse::input_site(*layers.rbegin()));
  EXPECT_FALSE(torch::allclose(second.cross, second.again, 1e-3, 1e-3));
  const auto unmerged = capture_tower(model.towers[0], tokens, kOfficial, layers);
  EXPECT_TRUE(torch::allclose(
      second.again, unmerged.at(mos::fuse::input_site(*layers.rbegin())).matrix(), 1e-5, 1e-5));
  EXPECT_TRUE(mos::io::state_dict_of(*model.towers[0].encoder).begin()->second.equal(before));
}

TEST(GramStore, GivesBackWhatItWasGiven) {
  mos::fuse::GramStore store;
  const auto samples = torch::randn({3, 5}, torch::kFloat64);
  const auto many = torch::randn({9, 5}, torch::kFloat64);
  EXPECT_EQ(store.put(InputGram::from_samples(samples)), 0U);
  EXPECT_EQ(store.put(InputGram::from_samples(many)), 1U);
  EXPECT_EQ(store.put(InputGram::from_matrix(torch::eye(5, torch::kFloat64), 2)), 2U);
  EXPECT_TRUE(store.get(0).samples().equal(samples));
  EXPECT_FALSE(store.get(1).samples().defined());
  EXPECT_TRUE(torch::allclose(store.get(1).matrix(), many.t().matmul(many)));
  EXPECT_EQ(store.get(1).rows(), 9);
  EXPECT_TRUE(store.get(2).matrix().equal(torch::eye(5, torch::kFloat64)));
  EXPECT_FALSE(store.get(2).samples().defined());
  const auto matrix = torch::randn({2, 7}, torch::kFloat64);
  EXPECT_EQ(store.put_matrix(torch::zeros({2, 7}, torch::kFloat64)), 3U);
  EXPECT_EQ(store.put_matrix(2.0 * matrix), 4U);
  store.replace_matrix(3, matrix);
  EXPECT_TRUE(store.get_matrix(3).equal(matrix));
  EXPECT_TRUE(store.get_matrix(4).equal(2.0 * matrix));
}

}  // namespace
