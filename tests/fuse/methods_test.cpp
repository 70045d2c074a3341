#include <gmock/gmock.h>

#include "mos/base/error.h"
#include "mos/fuse/method.h"
#include "tests/fuse/layer_problem.h"

namespace {

using mos::Json;
using mos::fuse::Update;
using mos::fuse::Weighting;
using mos::tiny::Layer;
using mos::tiny::random_dense;
using mos::tiny::random_lora;
using testing::HasSubstr;
using torch::Tensor;

/// What each method promises, beside what its own test says.
struct Promise {
  std::string method;
  Json options;  ///< With which it gives a concept back that is alone.
  double tolerance = 1e-9;
  /// A layer that one of two concepts touches is left as that one has it.
  bool keeps_what_one_touches = true;
};

std::ostream& operator<<(std::ostream& out, const Promise& promise) {
  return out << promise.method;
}

const std::vector<Promise> kPromises = {
    {"gradient", {{"text_ridge", 1.0}, {"unet_ridge", 1.0}}, 1e-9, false},
    {"distill", {{"text_ridge", 1.0}, {"unet_ridge", 1.0}}, 1e-9, false},
    {"lbfgs", {{"unet_iterations", 500}}, 1e-4, false},
    {"weight", Json::object(), 1e-12, false},
    {"sum", Json::object(), 1e-12},
    {"concat", Json::object(), 1e-12},
    {"svd", Json::object(), 1e-9},
    {"ties", {{"density", 1.0}}, 1e-12},
    {"dare", {{"density", 1.0}}, 1e-12},
    {"magnitude", {{"density", 1.0}}, 1e-12},
    {"ssr", Json::object(), 1e-12},
    {"custom_diffusion", {{"ridge", 1e-9}}, 1e-6, false},
    {"iteris", {{"rounds", 0}}, 1e-9, false},
    {"loraclr", Json::object(), 1e-9, false},
};

class EveryMethod : public testing::TestWithParam<Promise> {
 protected:
  void expect_equal(const Tensor& merged, const Tensor& wanted) const {
    const double error = (merged - wanted).abs().max().item<double>();
    EXPECT_LE(error, GetParam().tolerance) << GetParam().method;
  }
  Tensor merged(const Layer& layer) const {
    return layer.merged(GetParam().method, GetParam().options);
  }
  const mos::fuse::MethodInfo& info() const { return mos::fuse::method_info(GetParam().method); }
};

INSTANTIATE_TEST_SUITE_P(Methods, EveryMethod, testing::ValuesIn(kPromises),
                         [](const auto& row) { return row.param.method; });

TEST(MethodTable, EveryMethodIsHeldToAPromise) {
  std::vector<std::string> promised, there;
  for (const auto& promise : kPromises) promised.push_back(promise.method);
  for (const auto& info : mos::fuse::methods()) there.emplace_back(info.name);
  EXPECT_THAT(promised, testing::UnorderedElementsAreArray(there));
}

TEST_P(EveryMethod, GivesAConceptBackThatIsAlone) {
  const Layer layer({random_lora(1)});
  expect_equal(merged(layer), layer.delta(0));
}

TEST_P(EveryMethod, GivesADenseConceptBackIfItTakesOne) {
  if (info().forms == mos::fuse::Forms::kLowRank) return;
  const Layer layer({random_dense(1)});
  expect_equal(merged(layer), layer.delta(0));
}

TEST_P(EveryMethod, TakesLowRankAndDenseUpdatesTogether) {
  if (info().forms == mos::fuse::Forms::kLowRank) return;
  const auto lora = random_lora(1);
  const Layer mixed({lora, random_dense(2)});
  const Layer dense({Update{.dense = lora.matrix()}, random_dense(2)});
  expect_equal(merged(mixed), merged(dense));
}

TEST_P(EveryMethod, AConceptOfWeightZeroChangesNothing) {
  Layer both({random_lora(1), random_lora(2)});
  Layer alone({random_lora(1)});
  both.problem().weights = {1.0, 0.0};
  expect_equal(merged(both), merged(alone));
}

TEST_P(EveryMethod, ALayerThatOneConceptTouchesIsMerged) {
  const Layer layer({random_lora(1), Update{}});
  const auto result = merged(layer);
  EXPECT_TRUE(torch::isfinite(result).all().item<bool>());
  EXPECT_GT(result.norm().item<double>(), 0.0);
  if (GetParam().keeps_what_one_touches) expect_equal(result, layer.delta(0));
}

TEST_P(EveryMethod, ALayerWithoutWeightStaysAsItIs) {
  Layer layer({random_lora(1), Update{}});
  layer.problem().weights = {0.0, 1.0};
  EXPECT_LE(merged(layer).norm().item<double>(), 1e-12);
}

TEST_P(EveryMethod, TheSameProblemHasTheSameSolution) {
  const Layer layer({random_lora(1), random_lora(2), random_lora(3)});
  EXPECT_TRUE(merged(layer).equal(merged(layer)));
}

TEST_P(EveryMethod, AConceptAndItsNegativeCancelWhereWeightsAreFactors) {
  const std::vector<double> opposite = {1.0, -1.0};
  if (info().weighting != Weighting::kFactors) {
    EXPECT_THROW(mos::fuse::concept_weights(info().weighting, opposite, 2), mos::Error);
    return;
  }
  Layer layer({random_lora(1), random_lora(1)});
  layer.problem().weights = mos::fuse::concept_weights(info().weighting, opposite, 2);
  EXPECT_LE(merged(layer).norm().item<double>(), 1e-12);
}

TEST_P(EveryMethod, RefusesAnOptionThatItDoesNotHave) {
  try {
    mos::fuse::make_method(GetParam().method, {{"no_such_option", 1}});
    ADD_FAILURE() << "nothing was thrown";
  } catch (const mos::Error& error) {
    EXPECT_EQ(error.kind(), mos::ErrorKind::kUsage);
    EXPECT_THAT(error.what(), HasSubstr(GetParam().method));
    EXPECT_THAT(error.what(), HasSubstr("no_such_option"));
  }
}

TEST_P(EveryMethod, WritesItsOptionsAsItReadsThem) {
  const auto method = mos::fuse::make_method(GetParam().method, GetParam().options);
  const auto written = options_of(*method);
  for (const auto& [name, value] : GetParam().options.items()) EXPECT_EQ(written.at(name), value);
  EXPECT_EQ(options_of(*mos::fuse::make_method(GetParam().method, written)), written);
}

TEST(MethodTable, NamesTheNearestMethod) {
  try {
    mos::fuse::method_info("tise");
    ADD_FAILURE() << "nothing was thrown";
  } catch (const mos::Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("did you mean 'ties'"));
  }
}

}  // namespace
