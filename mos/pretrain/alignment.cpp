#include "mos/pretrain/alignment.h"

#include "mos/base/error.h"
#include "mos/pretrain/compute.h"
#include "mos/pretrain/tower_training.h"

namespace mos::pretrain {

using torch::Tensor;

namespace {

constexpr const char* kObserved = "down_blocks.1.attentions.0.proj_out";

Tensor unit_rows(const Tensor& x) {
  const auto wide = x.to(torch::kFloat32);
  return wide / (wide.norm(2, {-1}, /*keepdim=*/true) + 1e-6);
}

}  // namespace

AlignmentImpl::AlignmentImpl(nn::UNet2DConditionModel& unet, std::int64_t tower_width) {
  nn::for_each_lora_layer(*unet, [&](const std::string& name, nn::LoraLayer& layer) {
    if (name != kObserved) return;
    layer.input_observer = [this](const Tensor& x) { seen_ = x; };
    project_ = register_module("project", nn::Linear(layer.in_features(), tower_width));
  });
  if (project_.is_empty()) {
    throw Error(ErrorKind::kUsage,
                "the U-Net is aligned at the transformer of its second level on the way down, but "
                "down_attention gives it none");
  }
}

Tensor AlignmentImpl::loss(const Tensor& patches) {
  const auto features = seen_.dim() == 4 ? seen_.flatten(1, 2) : seen_;
  if (features.size(1) != patches.size(1)) {
    throw Error(ErrorKind::kUsage,
                "the image tower's patches are not the U-Net's positions: align "
                "with towers whose picture has as many patches a side");
  }
  const auto cosine = (unit_rows(project_(features)) * unit_rows(patches)).sum(-1);
  seen_ = Tensor();
  return 1.0 - cosine.mean();
}

Tensor tower_patches(nn::CLIPModel& towers, const Tensor& pictures) {
  const torch::NoGradGuard no_grad;
  const auto states = towers->vision(tower_pictures(pictures, towers).to(kCompute));
  return states.last_hidden_state.slice(1, 1);  // behind the class token
}

}  // namespace mos::pretrain
