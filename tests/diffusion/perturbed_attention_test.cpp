#include "mos/diffusion/perturbed_attention.h"

#include <gtest/gtest.h>

#include <span>

#include "mos/diffusion/denoise.h"
#include "mos/nn/ops.h"
#include "tests/support/difference.h"
#include "tests/support/tiny_model.h"

namespace mos::diffusion {
namespace {

using test::difference;
using torch::Tensor;

/// The reference: probabilities written out, of which a share is the identity's in the first row of
/// the batch.
class WrittenOut : public nn::AttentionProcessor {
 public:
  explicit WrittenOut(double share) : share_(share) {}
  Tensor process(nn::AttentionImpl& attention, const Tensor& hidden_states,
                 const Tensor& /*context*/) override {
    const auto [k, v] = attention.key_value(hidden_states);
    const auto scale = 1.0 / std::sqrt(static_cast<double>(attention.head_dim()));
    auto p = (attention.query(hidden_states).matmul(k.transpose(-1, -2)) * scale).softmax(-1);
    p[0] = (1.0 - share_) * p[0] + share_ * torch::eye(p.size(-1));
    return attention.output(p.matmul(v));
  }

 private:
  double share_;
};

/// A processor that is already there: attention, twice as strong.
class Doubled : public nn::AttentionProcessor {
 public:
  Tensor process(nn::AttentionImpl& attention, const Tensor& hidden_states,
                 const Tensor& /*context*/) override {
    const auto [k, v] = attention.key_value(hidden_states);
    return attention.output(2.0 * nn::attention(attention.query(hidden_states), k, v));
  }
};

class PerturbedAttentionTest : public testing::Test {
 protected:
  nn::Conditioning encoded(const std::string& prompt) const {
    return encode_texts(model_.towers, std::span(&prompt, 1));
  }
  /// Of an unconditional picture and one with a prompt, the latents alike.
  Tensor run() {
    auto unet = model_.unet;
    const auto text = nn::cat(std::array{encoded(""), encoded("a cat")});
    return unet->forward(latents_.expand({2, 4, 8, 8}), torch::full({1}, 500), text);
  }
  Tensor written_out(double share) {
    const nn::ScopedProcessor scope(model_.unet->self_attentions(),
                                    std::make_shared<WrittenOut>(share));
    return run();
  }

  const torch::NoGradGuard no_grad_;
  Model model_ = tiny::model();
  at::Generator generator_ = seeded_generator(9);
  Tensor latents_ = randn({1, 4, 8, 8}, generator_);
};

TEST_F(PerturbedAttentionTest, AShareOfTheUnconditionalHalfsAttentionIsTheIdentity) {
  const auto plain = run();
  for (const double share : {0.3, 1.0}) {
    SCOPED_TRACE(share);
    const auto expected = written_out(share);
    ASSERT_GT(difference(expected[0], plain[0]), 1e-2);
    const PerturbedAttention perturbed(model_.unet, share);
    const auto both = run();
    EXPECT_LT(difference(both[0], expected[0]), 1e-4);
    EXPECT_LT(difference(both[1], plain[1]), 1e-4);
  }
}

TEST_F(PerturbedAttentionTest, GoesOnTopOfAProcessorAndLeavesItBehind) {
  const auto layers = model_.unet->self_attentions();
  ASSERT_FALSE(layers.empty());
  const auto doubled = std::make_shared<Doubled>();
  const nn::ScopedProcessor scope(layers, doubled);
  const auto plain = run();
  {
    const PerturbedAttention perturbed(model_.unet, 0.3);
    const auto both = run();
    EXPECT_GT(difference(both[0], plain[0]), 1e-2);
    EXPECT_LT(difference(both[1], plain[1]), 1e-4);
  }
  for (const auto& layer : layers) EXPECT_EQ(layer->processor, doubled);
  EXPECT_TRUE(torch::equal(run(), plain));
}

TEST_F(PerturbedAttentionTest, GuidanceLeadsAwayFromThePerturbedHalf) {
  const auto scheduler = make_scheduler("ddim", model_.settings.scheduler_config);
  DenoiseInputs inputs{.unet = model_.unet,
                       .scheduler = scheduler.get(),
                       .steps = 1,
                       .noise = latents_,
                       .cond = encoded("a cat"),
                       .uncond = encoded(""),
                       .guidance_scale = 2.0};
  Tensor seen;
  inputs.predict = [&](const NetworkCall& call, const Network& network) {
    return seen = network(call);
  };
  denoise(inputs);
  const auto plain = seen;
  inputs.guidance.perturbed = 0.5;
  denoise(inputs);
  EXPECT_GT(difference(seen[0], plain[0]), 1e-2);
  EXPECT_LT(difference(seen[1], plain[1]), 1e-4);
  inputs.guidance_scale = 1.0;  // the prompt's half alone
  denoise(inputs);
  EXPECT_EQ(seen.size(0), 1);
  EXPECT_LT(difference(seen[0], plain[1]), 1e-4);
}

}  // namespace
}  // namespace mos::diffusion
