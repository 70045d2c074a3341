#include <gmock/gmock.h>

#include <thread>

#include "mos/nn/clip.h"
#include "mos/nn/parameter.h"
#include "mos/nn/unet.h"
#include "tests/nn/compare.h"
#include "tests/nn/definitions.h"
#include "tests/nn/small_unet.h"
#include "tests/support/errors.h"

// What tuning and fusion hang into layers: low-rank updates, rows of concepts, observers,
// processors; which parameter learns through them, and what several threads may do with a network.

namespace mos::nn {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Tensor normal(at::IntArrayRef shape, std::uint64_t seed) {
  auto generator = seeded_generator(seed);
  return randn(shape, generator);
}

class LinearLora : public testing::Test {
 protected:
  LinearLora() {
    test::randomise(*layer_, 51);
    for (auto& parameter : layer_->parameters()) parameter.set_requires_grad(false);
  }

  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const auto& item : layer_->named_parameters()) names.push_back(item.key());
    return names;
  }

  Linear layer_{6, 5};
  const Tensor down_ = normal({2, 6}, 52), up_ = normal({5, 2}, 53), x_ = normal({3, 6}, 54);
};

TEST_F(LinearLora, IsThePlainProductWhateverTheScale) {
  const torch::NoGradGuard no_grad;
  const auto plain = layer_(x_);
  layer_->attach_lora(down_, up_);
  for (const double scale : {0.0, 1.0, -0.7}) {
    layer_->lora_scale = scale;
    const auto expected =
        plain.to(torch::kFloat64) + scale * x_.to(torch::kFloat64)
                                                .matmul(down_.to(torch::kFloat64).t())
                                                .matmul(up_.to(torch::kFloat64).t());
    EXPECT_LT(relative_error(layer_(x_), expected), 1e-6) << scale;
  }
}

TEST_F(LinearLora, ItsNamesAreKeysOfFilesAndGoWithIt) {
  layer_->attach_lora(down_, up_);
  EXPECT_THAT(names(), ElementsAre("weight", "bias", "lora_down.weight", "lora_up.weight"));
  EXPECT_EQ(layer_->lora_down()->weight.data_ptr(), down_.data_ptr()) << "it is no copy";
  layer_->attach_lora(2.0 * down_, up_);  // takes the place of the former
  EXPECT_THAT(names(), ElementsAre("weight", "bias", "lora_down.weight", "lora_up.weight"));
  layer_->detach_lora();
  EXPECT_THAT(names(), ElementsAre("weight", "bias"));
  layer_->detach_lora();  // of nothing is nothing
  EXPECT_FALSE(layer_->has_lora());
}

TEST_F(LinearLora, FactorsLearnAndTheFrozenWeightDoesNot) {
  layer_->attach_lora(down_.clone().requires_grad_(true), up_.clone().requires_grad_(true));
  layer_->lora_scale = 0.5;
  layer_(x_).sum().backward();
  EXPECT_FALSE(layer_->weight.grad().defined());
  const auto ones = torch::ones({3, 5}, torch::kFloat64), x = x_.to(torch::kFloat64);
  const auto up = up_.to(torch::kFloat64), down = down_.to(torch::kFloat64);
  EXPECT_LT(
      relative_error(layer_->lora_up()->weight.grad(), 0.5 * ones.t().matmul(x.matmul(down.t()))),
      1e-6);
  EXPECT_LT(relative_error(layer_->lora_down()->weight.grad(), 0.5 * ones.matmul(up).t().matmul(x)),
            1e-6);
}

TEST_F(LinearLora, Float32FactorsOnABfloat16NetworkKeepTheirOwnGradients) {
  layer_->to(torch::kBFloat16);
  layer_->attach_lora(down_.clone().requires_grad_(true), up_.clone().requires_grad_(true));
  const auto y = layer_(x_.to(torch::kBFloat16));
  EXPECT_EQ(y.scalar_type(), torch::kBFloat16);
  y.sum().backward();
  EXPECT_EQ(layer_->lora_down()->weight.grad().scalar_type(), torch::kFloat32);
  EXPECT_EQ(layer_->lora_up()->weight.grad().scalar_type(), torch::kFloat32);
}

TEST_F(LinearLora, OfAnotherLayerIsRefusedAndTheFormerStays) {
  layer_->attach_lora(down_, up_);
  const auto message = mos::test::message_of(ErrorKind::kMismatch, [&] {
    layer_->attach_lora(normal({2, 7}, 1), up_);
  });
  EXPECT_THAT(message, HasSubstr("down 2x7 and up 5x2 does not fit a layer with weight 5x6"));
  mos::test::message_of(ErrorKind::kMismatch, [&] {
    layer_->attach_lora(normal({3, 6}, 1), up_);
  });  // of two ranks
  mos::test::message_of(ErrorKind::kMismatch,
                        [&] { layer_->attach_lora(torch::zeros({}), torch::zeros({})); });
  EXPECT_EQ(layer_->lora_down()->weight.data_ptr(), down_.data_ptr());
}

ClipTextConfig text_config(std::int64_t eos) {
  ClipTextConfig config;
  config.hidden_size = 12;
  config.intermediate_size = 20;
  config.num_hidden_layers = 1;
  config.num_attention_heads = 2;
  config.vocab_size = 30;
  config.max_position_embeddings = 8;
  config.eos_token_id = eos;
  return config;
}

TEST(ConceptRows, LearnAloneAndOnlyWhereTheyAreRead) {
  CLIPTextModel model(text_config(29));
  test::randomise(*model, 55);
  for (auto& parameter : model->parameters()) parameter.set_requires_grad(false);
  const auto rows = normal({3, 12}, 56).requires_grad_(true);
  model->set_concept_rows(rows);
  const auto ids = torch::tensor({{28, 30, 5, 32, 29}}, torch::kInt64);  // rows 0 and 2
  model(ids).last_hidden_state.square().sum().backward();
  ASSERT_TRUE(rows.grad().defined());
  EXPECT_GT(rows.grad()[0].norm().item<double>(), 0.0);
  EXPECT_EQ(rows.grad()[1].norm().item<double>(), 0.0);
  EXPECT_GT(rows.grad()[2].norm().item<double>(), 0.0);
  EXPECT_FALSE(model->token_embedding().grad().defined());
  model->set_concept_rows({});
  EXPECT_THROW(model(ids), std::exception) << "there are no such tokens any more";
}

TEST(PooledText, IsThatOfTheLargestIdWhereAConfigIsFromTheFirstRelease) {
  const torch::NoGradGuard no_grad;
  const auto ids = torch::tensor({{28, 29, 4, 2, 2}, {28, 3, 5, 29, 2}}, torch::kInt64);
  const auto pooled_at = [&](std::int64_t eos) {
    CLIPTextModel model(text_config(eos));
    test::randomise(*model, 57);
    const auto out = model(ids);
    std::vector<std::int64_t> places;
    for (std::int64_t i = 0; i < 2; ++i) {
      for (std::int64_t place = 0; place < 5; ++place) {
        if (out.pooler_output[i].equal(out.last_hidden_state[i][place])) places.push_back(place);
      }
    }
    return places;
  };
  EXPECT_THAT(pooled_at(2), ElementsAre(1, 3));   // 2 stands for "the largest id"
  EXPECT_THAT(pooled_at(29), ElementsAre(1, 3));  // the first that is 29
  EXPECT_THAT(pooled_at(7), ElementsAre(1, 3));   // an end that no text has
}

class SharedUNet : public testing::Test {
 protected:
  SharedUNet() { test::randomise(*unet_, 58); }
  Tensor paint(const Tensor& sample) {
    return unet_(sample, torch::full({1}, 500, torch::kInt64), text_);
  }

  const Tensor text_ = normal({1, 3, 12}, 59);
  UNet2DConditionModel unet_{test::small_unet(12)};
};

TEST_F(SharedUNet, SeveralThreadsPaintWithOneNetwork) {
  const torch::NoGradGuard no_grad;
  std::vector<Tensor> samples, alone, beside(4);
  for (std::uint64_t i = 0; i < beside.size(); ++i) {
    samples.push_back(normal({1, 4, 6, 8}, 60 + i));
    alone.push_back(paint(samples.back()));
  }
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < beside.size(); ++i) {
    threads.emplace_back([&, i] {
      const torch::NoGradGuard of_this_thread;
      beside[i] = paint(samples[i]);
    });
  }
  for (auto& thread : threads) thread.join();
  for (std::size_t i = 0; i < beside.size(); ++i) {
    EXPECT_LT(relative_error(beside[i], alone[i]), 1e-6) << i;
  }
}

TEST_F(SharedUNet, ObserversSeeEveryLayerBeforeItIsApplied) {
  const torch::NoGradGuard no_grad;
  std::vector<std::string> seen, all;
  for_each_lora_layer(*unet_, [&](const std::string& name, LoraLayer& layer) {
    all.push_back(name);
    layer.input_observer = [&seen, &layer, name](const Tensor& x) {
      EXPECT_EQ(x.size(-1), layer.in_features()) << name;
      seen.push_back(name);
    };
  });
  paint(normal({1, 4, 6, 8}, 61));
  std::sort(seen.begin(), seen.end());
  std::sort(all.begin(), all.end());
  EXPECT_EQ(seen, all) << "each layer of the network is one of the step, once";
}

struct Doubled : AttentionProcessor {
  Tensor process(AttentionImpl& attention, const Tensor& x, const Tensor& context) override {
    const auto [key, value] = attention.key_value(attention.context_of_layer(context));
    return 2.0 * attention.output(nn::attention(attention.query(x), key, value));
  }
};

TEST_F(SharedUNet, ProcessorsNestAndGoInAnyCase) {
  const torch::NoGradGuard no_grad;
  const auto& layers = unet_->cross_attentions();
  const auto outer = std::make_shared<Doubled>(), inner = std::make_shared<Doubled>();
  {
    const ScopedProcessor first(layers, outer);
    EXPECT_THROW(
        {
          const ScopedProcessor second(layers, inner);
          EXPECT_EQ(layers.front()->processor, inner);
          throw std::runtime_error("in the middle of a step");
        },
        std::runtime_error);
    for (const auto& layer : layers) EXPECT_EQ(layer->processor, outer);
  }
  for (const auto& layer : layers) EXPECT_EQ(layer->processor, nullptr);
}

TEST_F(SharedUNet, AProcessorOfTheLayersOwnStepsIsThePlainAttention) {
  const torch::NoGradGuard no_grad;
  auto layer = unet_->cross_attentions().front();
  const auto x = normal({2, 5, layer->heads() * layer->head_dim()}, 62),
             text = normal({2, 3, 12}, 63);
  const auto plain = layer(x, text);
  const ScopedProcessor doubled({layer}, std::make_shared<Doubled>());
  EXPECT_LT(relative_error(layer(x, text), 2.0 * plain), 1e-6);
  EXPECT_LT(relative_error(layer->forward(x, text, x), 2.0 * plain + x), 1e-6) << "the residual";
}

TEST(ShapesOnlyScopes, AreOfTheirThread) {
  const ShapesOnly no_memory;
  std::size_t elsewhere = 0;
  std::thread([&] { elsewhere = new_parameter({3, 4}).storage().nbytes(); }).join();
  EXPECT_EQ(elsewhere, 12 * sizeof(float));
  EXPECT_EQ(new_parameter({3, 4}).storage().nbytes(), sizeof(float));
  { const ShapesOnly nested; }
  EXPECT_EQ(new_parameter({3, 4}).storage().nbytes(), sizeof(float)) << "the outer one goes on";
}

TEST(WorkingDtypes, AreThoseOfTheWeightsButForHalfPrecisionOnACpu) {
  EXPECT_EQ(working_dtype(torch::ones({1})), torch::kFloat32);
  EXPECT_EQ(working_dtype(torch::ones({1}, torch::kBFloat16)), torch::kBFloat16);
  EXPECT_EQ(working_dtype(torch::ones({1}, torch::kHalf)), torch::kFloat32);
  const auto same = torch::ones({2});
  EXPECT_EQ(cast_like(same, torch::ones({1})).data_ptr(), same.data_ptr()) << "no copy";
}

}  // namespace
}  // namespace mos::nn
