#include <gtest/gtest.h>

#include "mos/base/error.h"
#include "mos/base/json.h"
#include "mos/concepts/concept_file.h"
#include "mos/concepts/lora.h"
#include "mos/diffusion/model.h"
#include "mos/io/safetensors.h"
#include "mos/region/regional_attention.h"
#include "mos/region/sample.h"
#include "tests/support/golden.h"

namespace mos::region {
namespace {

using torch::Tensor;

Json json_of(const io::SafetensorsFile& file, const std::string& key) {
  return parse_json(file.metadata().at(key), key);
}

Box box_of(const Json& numbers) {
  return {numbers[0].get<double>(), numbers[1].get<double>(), numbers[2].get<double>(),
          numbers[3].get<double>()};
}

/// One attention layer with the stored weights.
nn::Attention golden_attention(const io::SafetensorsFile& file) {
  const auto heads = std::stoll(file.metadata().at("heads"));
  const auto query = file.get("attn.to_q.weight");
  nn::Attention attention(
      nn::AttentionSize{.query_dim = query.size(1),
                        .heads = heads,
                        .head_dim = query.size(0) / heads,
                        .cross_attention_dim = file.get("attn.to_k.weight").size(1)});
  io::StateDict weights;
  for (const auto& info : file.tensors()) {
    if (info.name.rfind("attn.", 0) == 0) weights[info.name.substr(5)] = file.get(info.name);
  }
  io::load_into(*attention, weights);
  return attention;
}

TEST(GoldenRegionalAttention, EveryArrangementOfBoxesGivesTheReferenceOutput) {
  const auto path = golden::find("region_attn.safetensors");
  if (!path) GTEST_SKIP() << "not there: region_attn.safetensors";
  torch::NoGradGuard no_grad;
  const io::SafetensorsFile file(*path);
  auto attention = golden_attention(file);
  const auto feature = json_of(file, "feat").get<std::vector<std::int64_t>>();

  constexpr std::string_view kSuffix = "/boxes";
  for (const auto& [key, text] : file.metadata()) {
    if (key.size() < kSuffix.size() || key.substr(key.size() - kSuffix.size()) != kSuffix) continue;
    std::vector<RegionContext> regions;
    for (const auto& box : parse_json(text, key)) {
      regions.push_back(
          {box_of(box), 1.0, file.get("region_ctx." + std::to_string(regions.size()))});
    }
    RegionalAttention processor(regions, feature[0], feature[1]);
    const auto out = processor.process(*attention, file.get("hidden_states"), file.get("context"));
    const auto name = key.substr(0, key.size() - kSuffix.size());
    EXPECT_LE(golden::max_abs_difference(out, file.get(name + "/out")),
              golden::tolerance("region_attn"))
        << name;
  }
}

/// Largest difference after each step that the reference itself has between float32 and float64.
std::vector<double> step_drift(const std::string& quantity, std::size_t steps) {
  std::vector<double> drift;
  if (const auto path = golden::find("noise_floor.json")) {
    const auto floors = read_json_file(*path);
    if (floors.contains(quantity)) {
      drift = floors[quantity]["max_abs_per_step"].get<std::vector<double>>();
    }
  }
  if (drift.empty()) drift.push_back(2e-5);
  while (drift.size() < steps) drift.push_back(2.0 * drift.back());
  return drift;
}

void expect_trajectory(const std::vector<Tensor>& steps, const Tensor& expected,
                       const std::string& quantity) {
  constexpr double kAllowedFloors = 20.0;
  ASSERT_EQ(static_cast<std::int64_t>(steps.size()), expected.size(0));
  const auto drift = step_drift(quantity, steps.size());
  for (std::size_t i = 0; i < steps.size(); ++i) {
    EXPECT_LE(golden::max_abs_difference(steps[i][0], expected[static_cast<std::int64_t>(i)]),
              kAllowedFloors * drift[i])
        << quantity << ", step " << i;
  }
}

struct Painted {
  std::vector<Tensor> steps;
  Tensor final_latents;
};

Painted paint(diffusion::Model& model, const concepts::ConceptTokens& tokens, const Scene& scene,
              const SampleOptions& options, const PaintInputs& inputs) {
  Painted painted;
  painted.final_latents = sample_latents(
      model, tokens, scene, options, inputs,
      [&](const diffusion::DenoiseStep& step) { painted.steps.push_back(step.latents.clone()); });
  return painted;
}

/// The words that a golden file stores, in prompt order.
std::vector<concepts::ConceptWord> words_of(const io::SafetensorsFile& file) {
  std::vector<concepts::ConceptWord> words;
  for (const auto& word : json_of(file, "concept_order")) {
    const auto name = word.get<std::string>();
    words.push_back({name, file.get("new_concept_embedding/" + name)});
  }
  return words;
}

/// The model, words and settings of the stored samplings, regions left out.
struct StoredSampling {
  explicit StoredSampling(const std::filesystem::path& path) : file(path) {
    tokens.add(words_of(file), model.towers);
    options.height = number("height");
    options.width = number("width");
    options.steps = number("steps");
    options.guidance_scale = std::stod(text("guidance"));
    scene.prompt = text("context");
    scene.negative_prompt = text("negative_prompt");
  }

  const std::string& text(const std::string& key) const { return file.metadata().at(key); }
  std::int64_t number(const char* key) const { return std::stoll(text(key)); }
  Canvas canvas() const { return {options.height, options.width}; }
  void add_regions() { scene.regions = parse_prompt_rewrite(text("prompt_rewrite"), canvas()); }

  Painted painted(std::vector<LoadedCondition> conditions = {}) {
    return paint(model, tokens, scene, options, {file.get("init_latents"), std::move(conditions)});
  }

  io::SafetensorsFile file;
  diffusion::Model model = diffusion::Model::load(golden::directory() / "tiny_sd");
  concepts::ConceptTokens tokens{model.unet->cross_attention_count()};
  SampleOptions options;
  Scene scene;
};

constexpr const char* kSampling = "regional_sampling.safetensors";
constexpr const char* kDrift = "regional_sampling.no_adapter.steps";

TEST(GoldenRegionalSampling, TrajectoriesWithAndWithoutRegionsAreTheReferenceOnes) {
  const auto why = golden::missing(golden::model_and({kSampling}));
  if (!why.empty()) GTEST_SKIP() << why;
  StoredSampling stored(*golden::find(kSampling));
  expect_trajectory(stored.painted().steps, stored.file.get("no_region_no_adapter/steps"), kDrift);

  stored.add_regions();
  const auto regional = stored.painted();
  expect_trajectory(regional.steps, stored.file.get("no_adapter/steps"), kDrift);
  EXPECT_EQ(golden::max_abs_difference(regional.final_latents, regional.steps.back()), 0.0);
}

/// The adapter of t2iadapter_`kind` with the stored block picture, enlarged to the canvas by
/// nearest neighbours as its note says.
LoadedCondition golden_condition(const StoredSampling& stored, const std::string& kind) {
  const auto [height, width] = stored.canvas();
  for (const auto& info : stored.file.tensors()) {
    if (!info.name.starts_with(kind + "_u8_block")) continue;
    const auto blocks = stored.file.get(info.name).to(torch::kFloat32) / 255.0;
    Condition condition;
    condition.weight = std::stod(stored.text(kind + "_weight"));
    return {diffusion::load_adapter(*golden::find("t2iadapter_" + kind), stored.model),
            torch::upsample_nearest2d(blocks, {height, width}), condition};
  }
  throw Error(ErrorKind::kFormat, std::string(kSampling) + " has no picture for " + kind);
}

TEST(GoldenRegionalSampling, AdaptersSteerAsInTheReference) {
  golden::Names files = {kSampling};
  for (const std::string folder : {"t2iadapter_keypose/", "t2iadapter_sketch/"}) {
    files.push_back(folder + "config.json");
    files.push_back(folder + "diffusion_pytorch_model.safetensors");
  }
  const auto why = golden::missing(golden::model_and(files));
  if (!why.empty()) GTEST_SKIP() << why;
  StoredSampling stored(*golden::find(kSampling));
  stored.add_regions();
  const auto keypose = golden_condition(stored, "keypose");
  const auto sketch = golden_condition(stored, "sketch");

  const auto expect_case = [&](const std::string& name, std::vector<LoadedCondition> conditions) {
    SCOPED_TRACE(name);
    const auto painted = stored.painted(std::move(conditions));
    expect_trajectory(painted.steps, stored.file.get(name + "/steps"), kDrift);
  };
  expect_case("keypose", {keypose});
  expect_case("sketch", {sketch});
  auto keypose_by_region = keypose, sketch_by_region = sketch;
  keypose_by_region.condition.boxes =
      parse_box_weights(stored.text("region_keypose"), stored.canvas());
  sketch_by_region.condition.boxes =
      parse_box_weights(stored.text("region_sketch"), stored.canvas());
  expect_case("keypose_region_weight", {keypose_by_region});
  expect_case("both", {keypose_by_region, sketch_by_region});
}

TEST(GoldenEdLoraSampling, ATunedConceptIsPaintedAsByTheReference) {
  const std::string name = "edlora_sampling.safetensors";
  if (const auto why = golden::missing(golden::model_and({name})); !why.empty()) {
    GTEST_SKIP() << why;
  }
  const io::SafetensorsFile file(*golden::find(name));
  const auto& meta = file.metadata();
  if (const auto why = golden::missing({meta.at("edlora")}); !why.empty()) GTEST_SKIP() << why;
  auto model = diffusion::Model::load(golden::directory() / "tiny_sd");
  const auto delta = concepts::load_concept(*golden::find(meta.at("edlora")));
  const auto alpha = std::stod(meta.at("alpha"));
  concepts::merge_concept(model, delta, alpha, "golden");
  concepts::ConceptTokens tokens(model.unet->cross_attention_count());
  tokens.add(delta.words, model.towers);

  const auto noise = file.get("init_latents");
  SampleOptions options;
  options.height = noise.size(2) * model.downscale();
  options.width = noise.size(3) * model.downscale();
  options.steps = std::stoll(meta.at("steps"));
  options.guidance_scale = std::stod(meta.at("guidance"));
  const Scene scene{meta.at("prompt"), meta.at("negative_prompt"), {}, std::nullopt, {}};
  const auto painted = paint(model, tokens, scene, options, {noise, {}});
  expect_trajectory(painted.steps, file.get("steps"), "edlora_sampling.steps");

  options.guidance_scale = 1.0;
  options.steps = 3;
  const auto unguided = paint(model, tokens, scene, options, {noise, {}});
  EXPECT_LE(golden::max_abs_difference(unguided.final_latents, file.get("final_cfg1_3steps")),
            20 * step_drift("edlora_sampling.steps", 3).back());
}

}  // namespace
}  // namespace mos::region
