#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mos/io/safetensors.h"
#include "mos/io/state_dict.h"
#include "mos/nn/controlnet.h"
#include "mos/nn/t2i_adapter.h"
#include "mos/nn/unet.h"
#include "tests/support/golden.h"

namespace mos::nn {
namespace {

/// Residuals of ControlNet and T2I-Adapter, and what the U-Net makes of them.
class GoldenControl : public testing::Test {
 protected:
  void SetUp() override {
    const auto why = golden::missing({"control.safetensors", "tiny_sd/unet/config.json",
                                      "tiny_sd/unet/diffusion_pytorch_model.safetensors"});
    if (!why.empty()) GTEST_SKIP() << why;
    file_ = std::make_unique<io::SafetensorsFile>(*golden::find("control.safetensors"));
    unet_ = UNet2DConditionModel(
        UNetConfig::from_json(read_json_file(*golden::find("tiny_sd/unet/config.json"))));
    const auto weights = *golden::find("tiny_sd/unet/diffusion_pytorch_model.safetensors");
    io::load_into(*unet_, io::load_safetensors(weights));
  }

  torch::Tensor get(const std::string& name) const { return file_->get(name); }
  torch::Tensor picture() const { return get("cond_u8").to(torch::kFloat32) / 255.0; }

  torch::Tensor predict(const UNetResiduals& residuals) {
    return unet_(get("latents"), get("timesteps"), get("ctx"), residuals);
  }

  void expect_close(const torch::Tensor& actual, const std::string& name) const {
    if (!file_->contains(name)) return;
    EXPECT_LE(golden::max_abs_difference(actual, get(name)), golden::tolerance("control." + name))
        << name;
    ++compared_;
  }

  /// `of_case` as the reference applied it. Its scale is that of the mid block, in guess mode too.
  void check_controlnet(const std::string& of_case, bool guess_mode) {
    const std::string config = "controlnet/config.json";
    const std::string weights = "controlnet/diffusion_pytorch_model.safetensors";
    if (const auto why = golden::missing({config, weights}); !why.empty()) GTEST_SKIP() << why;
    ControlNetModel controlnet(ControlNetConfig::from_json(read_json_file(*golden::find(config))));
    io::load_into(*controlnet, io::load_safetensors(*golden::find(weights)));
    const auto embedded = controlnet->embed_picture(picture());
    expect_close(embedded, "cond_embedding");
    auto output = controlnet(get("latents"), get("timesteps"), get("ctx"), embedded);
    const auto scale = (get(of_case + ".mid").norm() / get("plain.mid").norm()).item<double>();
    const auto scales = control_scales(output.down.size(), scale, guess_mode);
    std::vector<torch::Tensor> means;
    for (std::size_t i = 0; i < output.down.size(); ++i) {
      output.down[i] = output.down[i] * scales[i];
      means.push_back(output.down[i].abs().mean());
      expect_close(output.down[i], of_case + ".down." + std::to_string(i));
    }
    output.mid = output.mid * scales.back();
    expect_close(output.mid, of_case + ".mid");
    expect_close(torch::stack(means), of_case + ".down_means");
    expect_close(predict({.control_down = output.down, .control_mid = output.mid}),
                 of_case + ".unet_out");
    EXPECT_GE(compared_, 3);
  }

  torch::NoGradGuard no_grad_;
  std::unique_ptr<io::SafetensorsFile> file_;
  UNet2DConditionModel unet_{nullptr};
  mutable int compared_ = 0;
};

TEST_F(GoldenControl, ControlNetSteersTheUNet) { check_controlnet("plain", false); }
TEST_F(GoldenControl, ItsResidualsAreScaled) { check_controlnet("scale08", false); }
TEST_F(GoldenControl, GuessModeFadesThemTowardsTheFinestLevel) { check_controlnet("guess", true); }

class GoldenAdapter : public GoldenControl, public testing::WithParamInterface<const char*> {};

/// The sizes of an adapter from its tensors, as any folder may have others.
T2IAdapterConfig config_of(const io::StateDict& weights, bool light, std::int64_t downscale) {
  const std::string last = light ? "out_conv.weight" : "resnets.0.block1.weight";
  T2IAdapterConfig config{.kind = light ? T2IAdapterKind::kLight : T2IAdapterKind::kFull,
                          .channels = {},
                          .num_res_blocks = 0,
                          .downscale_factor = downscale};
  for (int level = 0;; ++level) {
    const auto found = weights.find("adapter.body." + std::to_string(level) + "." + last);
    if (found == weights.end()) break;
    config.channels.push_back(found->second.size(0));
  }
  while (weights.contains("adapter.body.0.resnets." + std::to_string(config.num_res_blocks) +
                          ".block1.weight")) {
    ++config.num_res_blocks;
  }
  const auto& first =
      weights.at(light ? "adapter.body.0.in_conv.weight" : "adapter.conv_in.weight");
  config.in_channels = first.size(1) / (downscale * downscale);
  return config;
}

TEST_P(GoldenAdapter, GivesTheReferencesFeatures) {
  const std::string prefix = std::string("t2i.") + GetParam() + ".";
  io::StateDict weights;
  for (const auto& info : file_->tensors()) {
    const auto start = prefix + "weights.";
    if (info.name.starts_with(start)) weights[info.name.substr(start.size())] = get(info.name);
  }
  if (weights.empty()) GTEST_SKIP() << prefix << "weights of control.safetensors are not there";
  const auto downscale = picture().size(3) / get("latents").size(3);
  const bool light = prefix.find("light") != std::string::npos;
  T2IAdapter adapter(config_of(weights, light, downscale));
  io::load_into(*adapter, weights);

  const auto channels = adapter->config().in_channels;
  const auto features = adapter(picture().narrow(1, 0, channels));
  for (std::size_t i = 0; i < features.size(); ++i) {
    expect_close(features[i], prefix + "feat." + std::to_string(i));
  }
  expect_close(predict({.adapter = features}), prefix + "unet_out");
  EXPECT_GE(compared_, 1);
}

INSTANTIATE_TEST_SUITE_P(Kinds, GoldenAdapter,
                         testing::Values("full_adapter_3ch", "full_adapter_1ch",
                                         "light_adapter_3ch"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace mos::nn
