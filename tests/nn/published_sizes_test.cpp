#include <gmock/gmock.h>

#include <set>

#include "mos/nn/clip.h"
#include "mos/nn/controlnet.h"
#include "mos/nn/parameter.h"
#include "mos/nn/unet.h"
#include "mos/nn/vae.h"

// Networks of the sizes that everybody downloads have as many numbers as their publishers count,
// and the names that their files have. Only shapes are built, so nothing is as large as it says.

namespace mos::nn {
namespace {

using testing::Contains;
using testing::Pair;

std::int64_t numbers_of(const torch::nn::Module& network) {
  std::int64_t sum = 0;
  for (const auto& parameter : network.parameters()) sum += parameter.numel();
  return sum;
}

std::map<std::string, std::vector<std::int64_t>> shapes_of(const torch::nn::Module& network) {
  std::map<std::string, std::vector<std::int64_t>> shapes;
  for (const auto& item : network.named_parameters()) {
    shapes[item.key()] = item.value().sizes().vec();
  }
  return shapes;
}

class PublishedSizes : public testing::Test {
 private:
  const ShapesOnly no_memory_;
};

/// CLIP's text tower of Stable Diffusion 2.x: OpenCLIP's ViT-H/14 without its last layer.
ClipTextConfig open_clip_huge() {
  ClipTextConfig config;
  config.hidden_size = 1024;
  config.intermediate_size = 4096;
  config.num_hidden_layers = 23;
  config.num_attention_heads = 16;
  return config;
}

UNetConfig stable_diffusion_2() {
  UNetConfig config;
  config.heads = {5, 10, 20, 20};
  config.cross_attention_dim = 1024;
  config.use_linear_projection = true;
  return config;
}

TEST_F(PublishedSizes, OfStableDiffusion1) {
  const UNet2DConditionModel unet{UNetConfig()};
  EXPECT_EQ(numbers_of(*unet), 859'520'964);
  EXPECT_EQ(unet->parameters().size(), 686U);
  EXPECT_EQ(unet->cross_attention_count(), 16);  // the layers of the paper's P+ texts
  const auto shapes = shapes_of(*unet);
  using Shape = std::vector<std::int64_t>;
  EXPECT_THAT(shapes, Contains(Pair("conv_in.weight", Shape{320, 4, 3, 3})));
  EXPECT_THAT(shapes, Contains(Pair("time_embedding.linear_2.weight", Shape{1280, 1280})));
  EXPECT_THAT(shapes, Contains(Pair("down_blocks.1.resnets.0.conv_shortcut.weight",
                                    Shape{640, 320, 1, 1})));
  EXPECT_THAT(shapes,
              Contains(Pair("down_blocks.0.attentions.1.proj_in.weight", Shape{320, 320, 1, 1})));
  EXPECT_THAT(shapes,
              Contains(Pair("up_blocks.3.attentions.2.transformer_blocks.0.attn2.to_k.weight",
                            Shape{320, 768})));
  EXPECT_THAT(shapes,
              Contains(Pair("mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj.weight",
                            Shape{10240, 1280})));
  EXPECT_THAT(shapes,
              Contains(Pair("up_blocks.0.upsamplers.0.conv.weight", Shape{1280, 1280, 3, 3})));
  EXPECT_FALSE(shapes.contains("up_blocks.3.upsamplers.0.conv.weight"));
  EXPECT_FALSE(shapes.contains("down_blocks.3.downsamplers.0.conv.weight"));
}

TEST_F(PublishedSizes, OfStableDiffusion2) {
  const UNet2DConditionModel unet(stable_diffusion_2());
  EXPECT_EQ(numbers_of(*unet), 865'910'724);
  const auto shapes = shapes_of(*unet);
  EXPECT_EQ(shapes.at("down_blocks.0.attentions.0.proj_in.weight"),
            (std::vector<std::int64_t>{320, 320}))
      << "a linear layer";
  EXPECT_EQ(numbers_of(*CLIPTextModel(open_clip_huge())), 340'387'840);
}

TEST_F(PublishedSizes, OfTheirVae) {
  const AutoencoderKL vae{VaeConfig()};
  EXPECT_EQ(numbers_of(*vae), 83'653'863);
  EXPECT_EQ(vae->parameters().size(), 248U);
  EXPECT_EQ(vae->config().downscale(), 8);
}

TEST_F(PublishedSizes, OfClip) {
  EXPECT_EQ(numbers_of(*CLIPTextModel(ClipTextConfig())), 123'060'480);

  ClipTextConfig text;  // ViT-B/32
  text.hidden_size = 512;
  text.intermediate_size = 2048;
  text.num_attention_heads = 8;
  const CLIPModel base(text, ClipVisionConfig(), 512);
  EXPECT_EQ(numbers_of(*base), 151'277'313);

  ClipVisionConfig vision;  // ViT-L/14
  vision.hidden_size = 1024;
  vision.intermediate_size = 4096;
  vision.num_hidden_layers = 24;
  vision.num_attention_heads = 16;
  vision.patch_size = 14;
  const CLIPModel large(ClipTextConfig(), vision, 768);
  EXPECT_EQ(numbers_of(*large), 427'616'513);
}

TEST_F(PublishedSizes, OfControlNet) {
  const ControlNetModel net{ControlNetConfig()};
  EXPECT_EQ(numbers_of(*net), 361'279'120);
  std::set<std::string> heads;
  for (const auto& [name, shape] : shapes_of(*net)) heads.insert(name.substr(0, name.find('.')));
  EXPECT_EQ(heads, (std::set<std::string>{"conv_in", "controlnet_cond_embedding",
                                          "controlnet_down_blocks", "controlnet_mid_block",
                                          "down_blocks", "mid_block", "time_embedding"}));
}

}  // namespace
}  // namespace mos::nn
