#include <gmock/gmock.h>

#include <cmath>
#include <set>

#include "mos/base/file.h"
#include "mos/concepts/concept_file.h"
#include "mos/concepts/lora.h"
#include "mos/fuse/capture.h"
#include "mos/fuse/fuse_concepts.h"
#include "mos/fuse/methods/lbfgs.h"
#include "mos/fuse/solver.h"
#include "mos/fuse/sources.h"
#include "mos/io/safetensors.h"
#include "tests/support/golden.h"
#include "tests/support/temp_dir.h"

namespace {

using enum mos::checkpoint::Part;

namespace fs = std::filesystem;
using mos::concepts::ConceptTokens;
using mos::concepts::ScopedMerge;
using mos::diffusion::Model;
using mos::fuse::ConceptPrompts;
using mos::fuse::ConceptSource;
using mos::fuse::InputGram;
using mos::fuse::LayerWish;
using mos::fuse::RidgeSolver;
using mos::fuse::SiteGrams;
using mos::golden::find;
using mos::golden::missing;
using mos::golden::model_and;
using torch::Tensor;

constexpr double kSmallestRidge = 1e-12;

Model tiny_model() { return Model::load(*find("tiny_sd")); }

constexpr const char* kList = "fusion/concept_cfg.json";

/// The .safetensors twin, in this folder, of a concept in the authors' list.
std::string twin_of(const mos::Json& entry) {
  const fs::path file = entry.at("lora_path").get<std::string>();
  return "fusion/" + file.filename().replace_extension(".safetensors").string();
}

/// The authors' concept list, reading each concept from its .safetensors twin.
std::vector<ConceptSource> listed_sources() {
  auto list = mos::read_json_file(*find(kList));
  for (auto& entry : list) entry["lora_path"] = find(twin_of(entry))->string();
  const mos::TempDir folder;
  mos::write_text_file(folder / "list.json", list.dump());
  return mos::fuse::load_source_list(folder / "list.json");
}

ConceptTokens add_words(Model& model, const std::vector<ConceptSource>& sources) {
  ConceptTokens tokens(model.unet->cross_attention_count());
  for (const auto& source : sources) {
    tokens.add(source.delta.words, model.towers);
  }
  return tokens;
}

/// One layer's stored least-squares problem, summed over concepts; stages are named as in the file.
struct StoredProblem {
  std::string stage, layer;
  Tensor gram, wanted;  ///< G [I,I] and YᵀX [O,I], float64.
  double energy = 0.0;  ///< Σ Y².
  std::int64_t rows = 0;

  /// The mean squared error of weight [O,I].
  double objective(const Tensor& weight) const {
    const auto w = weight.flatten(1).to(torch::kFloat64);
    const double sum = energy + (w * (torch::matmul(w, gram) - 2.0 * wanted)).sum().item<double>();
    return sum / static_cast<double>(rows * wanted.size(0));
  }

  /// Of `objective`, which takes the difference of terms as large as the energy: one concept alone
  /// is met exactly, and what is left is rounding, of either sign.
  double rounding() const { return 1e-13 * energy / static_cast<double>(rows * wanted.size(0)); }

  /// The wish of a concept with identity for `up`: what is to be added to `base` on these inputs.
  LayerWish wish(const Tensor& base) const {
    const auto w0 = base.flatten(1).to(torch::kFloat64);
    LayerWish sum(wanted.size(0), gram.size(0));
    const double at_base =
        energy + (w0 * (torch::matmul(w0, gram) - 2.0 * wanted)).sum().item<double>();
    sum.add_reduced(torch::eye(wanted.size(0), torch::kFloat64), wanted - torch::matmul(w0, gram),
                    at_base);
    return sum;
  }
};

std::vector<StoredProblem> stored_problems() {
  const mos::io::SafetensorsFile file(*find("fusion/layer_grams_f64.safetensors"));
  constexpr std::string_view kSuffix = ".weight/G";
  std::vector<StoredProblem> problems;
  for (const auto& info : file.tensors()) {
    if (!info.name.ends_with(kSuffix)) continue;
    const auto key = info.name.substr(0, info.name.size() - 1);
    const auto slash = key.find('/');
    problems.push_back({.stage = key.substr(0, slash),
                        .layer = key.substr(slash + 1, key.size() - slash - 1 -
                                                           std::string_view(".weight/").size()),
                        .gram = file.get(key + "G"),
                        .wanted = file.get(key + "YtX"),
                        .energy = file.get(key + "YY").item<double>(),
                        .rows = file.get(key + "n").item<std::int64_t>()});
  }
  return problems;
}

std::string weight_key(const StoredProblem& problem) {
  return problem.stage + "/" + problem.layer + ".weight";
}

/// Weights of the base model for every stage.
Tensor base_weight(const StoredProblem& problem) {
  const bool text = problem.stage == "text_encoder";
  static const mos::io::SafetensorsFile text_file(*find("tiny_sd/text_encoder/model.safetensors"));
  static const mos::io::SafetensorsFile unet_file(
      *find("tiny_sd/unet/diffusion_pytorch_model.safetensors"));
  return (text ? text_file : unet_file).get(problem.layer + ".weight");
}

/// Puts the authors' fused weights of one stage into the network.
void load_stage(torch::nn::Module& network, const std::string& stage) {
  const torch::NoGradGuard no_grad;
  const mos::io::SafetensorsFile file(*find("fusion/fused_weights_lbfgs.safetensors"));
  auto parameters = network.named_parameters();
  for (const auto& info : file.tensors()) {
    if (!info.name.starts_with(stage + "/")) continue;
    parameters[info.name.substr(stage.size() + 1)].copy_(file.get(info.name));
  }
}

mos::fuse::LayerNames layers_of(const std::vector<StoredProblem>& problems,
                                const std::string& stage) {
  mos::fuse::LayerNames layers;
  for (const auto& problem : problems) {
    if (problem.stage == stage) layers.insert(problem.layer);
  }
  return layers;
}

void merge_into(SiteGrams& sum, const SiteGrams& grams) {
  for (const auto& [site, gram] : grams) {
    sum.try_emplace(site, InputGram(gram.in_features())).first->second.merge(gram);
  }
}

/// Compares summed moments with the stored ones; `tolerance` is relative to the largest entry.
void expect_stored_moments(const SiteGrams& sum, const std::vector<StoredProblem>& problems,
                           const std::string& stage, double tolerance) {
  for (const auto& problem : problems) {
    if (problem.stage != stage) continue;
    const auto& gram = sum.at(mos::fuse::input_site(problem.layer));
    EXPECT_EQ(gram.rows(), problem.rows) << problem.layer;
    const double scale = problem.gram.abs().max().item<double>();
    EXPECT_LT(mos::golden::max_abs_difference(gram.matrix(), problem.gram), tolerance * scale)
        << problem.layer;
  }
}

ConceptPrompts official_prompts(const ConceptSource& source) {
  return {.prompts = {"photo of a " + source.prompt_phrase(), source.prompt_phrase()}};
}

class GoldenFusion : public testing::Test {
 protected:
  void SetUp() override {
    auto files = model_and(
        {"fusion/layer_grams_f64.safetensors", "fusion/fused_weights_lbfgs.safetensors", kList});
    if (const auto list = find(kList)) {
      for (const auto& entry : mos::read_json_file(*list)) files.push_back(twin_of(entry));
    }
    if (const auto why = missing(files); !why.empty()) GTEST_SKIP() << why;
  }
};

TEST_F(GoldenFusion, TheExactSolutionIsNoWorseThanTheAuthorsAtAnyLayer) {
  const mos::io::SafetensorsFile theirs(*find("fusion/fused_weights_lbfgs.safetensors"));
  for (const auto& problem : stored_problems()) {
    const auto w0 = base_weight(problem);
    const auto wish = problem.wish(w0);
    const RidgeSolver solver(InputGram::from_matrix(problem.gram, problem.rows), kSmallestRidge);
    const auto fused = w0.flatten(1).to(torch::kFloat64) + solver.solve(wish);
    const double ours = problem.objective(fused);
    EXPECT_LE(ours, problem.objective(theirs.get(weight_key(problem))) + problem.rounding())
        << weight_key(problem);
    EXPECT_LT(ours, problem.objective(w0)) << weight_key(problem);
  }
}

TEST_F(GoldenFusion, LbfgsEndsWhereTheAuthorsDoes) {
  constexpr std::int64_t kTextIterations = 500, kUNetIterations = 50;
  const mos::io::SafetensorsFile theirs(*find("fusion/fused_weights_lbfgs.safetensors"));
  std::map<std::string, double> our_sum, their_sum, base_sum;
  std::map<std::string, int> seen;
  for (const auto& problem : stored_problems()) {
    if (++seen[problem.stage] % 8 != 1) continue;  // some layers of each stage are enough
    const auto w0 = base_weight(problem);
    const auto m = mos::fuse::solve_lbfgs(
        problem.wish(w0), InputGram::from_matrix(problem.gram, problem.rows),
        {.max_iterations = problem.stage == "spatial" ? kUNetIterations : kTextIterations});
    our_sum[problem.stage] += problem.objective(w0.flatten(1).to(torch::kFloat64) + m);
    their_sum[problem.stage] += problem.objective(theirs.get(weight_key(problem)));
    base_sum[problem.stage] += problem.objective(w0);
  }
  // Both stop early, theirs in float32: the same progress from W0, not the same weights.
  for (const auto& [stage, sum] : our_sum) {
    EXPECT_LT(sum, their_sum[stage] + 0.01 * (base_sum[stage] - their_sum[stage])) << stage;
  }
}

TEST_F(GoldenFusion, StoredActivationsGiveTheStoredSolution) {
  const auto path = find("fusion/layer_problems.safetensors");
  if (!path) GTEST_SKIP() << "not there: fusion/layer_problems.safetensors";
  const mos::io::SafetensorsFile file(*path);
  for (const auto& info : file.tensors()) {
    if (!info.name.ends_with("/X")) continue;
    const auto key = info.name.substr(0, info.name.size() - 1);
    const auto w0 = file.get(key + "W0").to(torch::kFloat64);
    const auto x = file.get(key + "X").to(torch::kFloat64);
    const auto missing = file.get(key + "Y").to(torch::kFloat64) - torch::matmul(x, w0.t());
    const auto total = InputGram::from_samples(x);
    LayerWish wish(w0.size(0), w0.size(1));
    wish.add_reduced(torch::eye(w0.size(0), torch::kFloat64), torch::matmul(missing.t(), x), 0.0);
    const RidgeSolver solver(InputGram::from_matrix(total.matrix(), total.rows()), kSmallestRidge);
    const auto error = [&](const Tensor& update) {
      return (torch::matmul(x, update.t()) - missing).square().mean().item<double>();
    };
    EXPECT_LE(error(solver.solve(wish)), error(file.get(key + "W_lbfgs").to(torch::kFloat64) - w0))
        << key;
  }
}

TEST_F(GoldenFusion, ConceptWordsGetTheTokensOfTheAuthorsList) {
  const auto expected = find("fusion/new_concept_cfg.json");
  if (!expected) GTEST_SKIP() << "not there: fusion/new_concept_cfg.json";
  auto model = tiny_model();
  EXPECT_EQ(add_words(model, listed_sources()).to_json(), mos::read_json_file(*expected));
}

TEST_F(GoldenFusion, TextEncoderInputsAreTheStoredOnes) {
  const auto problems = stored_problems();
  auto model = tiny_model();
  const auto sources = listed_sources();
  const auto tokens = add_words(model, sources);
  const auto layers = layers_of(problems, "text_encoder");
  SiteGrams sum;
  for (const auto& source : sources) {
    const ScopedMerge merged(*model.towers[0].encoder, source.delta.of(kTextEncoder),
                             source.scale(kTextEncoder), source.name);
    merge_into(sum, capture_tower(model.towers[0], tokens, official_prompts(source), layers));
  }
  expect_stored_moments(sum, problems, "text_encoder", 1e-5);
}

TEST_F(GoldenFusion, KeysAndValuesSeeTheFusedTextEncodersWords) {
  const auto problems = stored_problems();
  auto model = tiny_model();
  const auto sources = listed_sources();
  const auto tokens = add_words(model, sources);
  load_stage(*model.towers[0].encoder, "text_encoder");
  SiteGrams sum;
  for (const auto& source : sources) {
    merge_into(sum, capture_cross_attention(model, tokens, official_prompts(source),
                                            layers_of(problems, "cross_kv")));
  }
  expect_stored_moments(sum, problems, "cross_kv", 1e-5);
}

TEST_F(GoldenFusion, SamplingEachConceptGivesTheStoredInputsAndLatents) {
  const auto decode = find("fusion/decode.safetensors");
  if (!decode) GTEST_SKIP() << "not there: fusion/decode.safetensors";
  const mos::io::SafetensorsFile stored(*decode);
  const auto problems = stored_problems();
  auto model = tiny_model();
  const auto sources = listed_sources();
  const auto tokens = add_words(model, sources);
  load_stage(*model.towers[0].encoder, "text_encoder");
  load_stage(*model.unet, "cross_kv");
  const auto not_text_fed = [](const std::string& name) { return !mos::fuse::reads_text(name); };
  SiteGrams sum;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const auto& source = sources[i];
    const ScopedMerge merged(*model.unet,
                             mos::concepts::filter(source.delta.of(kUNet), not_text_fed),
                             source.scale(kUNet), source.name);
    const auto sampled =
        mos::fuse::capture_unet(model, tokens,
                                {.prompt = "photo of a " + source.prompt_phrase(),
                                 .noise = stored.get("noise_" + std::to_string(i)),
                                 .steps = std::stoll(stored.metadata().at("steps"))},
                                layers_of(problems, "spatial"));
    merge_into(sum, sampled.grams);
    const auto expected = stored.get("final_latents_" + std::to_string(i));
    const double drift = 1e-4 * expected.abs().max().item<double>();
    EXPECT_LT(mos::golden::max_abs_difference(sampled.latents, expected), drift) << source.name;
  }
  expect_stored_moments(sum, problems, "spatial", 1e-5);
}

/// The fused layers of a model as the fixtures name them.
void expect_stored_weights(const Model& model, const mos::io::SafetensorsFile& stored) {
  const auto text = mos::io::state_dict_of(*model.towers[0].encoder);
  const auto unet = mos::io::state_dict_of(*model.unet);
  for (const auto& info : stored.tensors()) {
    const auto slash = info.name.find('/');
    const auto& network = info.name.starts_with("unet/") ? unet : text;
    EXPECT_LT(mos::golden::max_abs_difference(network.at(info.name.substr(slash + 1)),
                                              stored.get(info.name)),
              mos::golden::tolerance("weights", 1e-7))
        << info.name;
  }
}

TEST(GoldenWeightFusion, IsTheStoredWeightedSum) {
  const std::string name = "weight_fusion.safetensors";
  if (const auto why = missing(model_and({name})); !why.empty()) GTEST_SKIP() << why;
  const mos::io::SafetensorsFile stored(*find(name));
  mos::fuse::FuseOptions options{.method = "weight"};
  options.weights =
      mos::parse_json(stored.metadata().at("weights"), "weights").get<std::vector<double>>();
  std::vector<std::string> files;
  for (std::size_t i = 0; i < options.weights.size(); ++i) {
    const auto file = fmt::format("fusion/edlora_{}.safetensors", i);
    if (const auto why = missing({file}); !why.empty()) GTEST_SKIP() << why;
    files.push_back(find(file)->string());
  }
  auto model = tiny_model();
  fuse_concepts(model, mos::fuse::load_sources(files), options);
  expect_stored_weights(model, stored);
}

TEST(GoldenWeightFusion, OneConceptMergesAsTheAuthorsMergeIt) {
  const std::string name = "single_merge_alpha06.safetensors";
  const std::string source = "fusion/edlora_0.safetensors";
  if (const auto why = missing(model_and({name, source})); !why.empty()) GTEST_SKIP() << why;
  constexpr double kAlpha = 0.6;
  auto model = tiny_model();
  const auto delta = mos::concepts::load_concept(*find(source));
  mos::concepts::merge_concept(model, delta, kAlpha, "edlora_0");
  expect_stored_weights(model, mos::io::SafetensorsFile(*find(name)));
}

}  // namespace
