#include "mos/pretrain/adapter_training.h"

#include <fmt/core.h>

#include <algorithm>
#include <memory>

#include "mos/base/device.h"
#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/base/random.h"
#include "mos/diffusion/noise_schedule.h"
#include "mos/io/edges.h"
#include "mos/io/state_dict.h"
#include "mos/nn/t2i_adapter.h"
#include "mos/pretrain/batches.h"
#include "mos/pretrain/compute.h"
#include "mos/pretrain/initialise.h"
#include "mos/pretrain/latents.h"
#include "mos/pretrain/stage.h"
#include "mos/pretrain/unet_training.h"
#include "mos/pretrain/vae_training.h"
#include "mos/world/keypose.h"

namespace mos::pretrain {

using torch::Tensor;
using world::Split;

namespace {

constexpr std::int64_t kMeasuredForLoss = 96;  // held-out pictures for the validation loss
constexpr std::int64_t kLossSeed = 99;

Tensor condition_of(const Dataset& data, Split split, std::int64_t index, ConditionKind kind) {
  const auto& compositor = data.compositor();
  if (kind == ConditionKind::kSketch) {
    return io::edge_picture(data.pictures(split, torch::tensor({index}))[0]);
  }
  const auto [height, width] = data.world().pixels(0);
  return world::keypose_picture(world::poses_of(compositor, data.layout(split, index)), height,
                                width);
}

/// The base, frozen: all workers read the same networks.
diffusion::Model load_frozen(const std::filesystem::path& base, torch::Device device) {
  auto frozen = load_base(base, kCompute, device);
  nn::use_engine(*frozen.unet, nn::Engine::kFused);
  for (const auto part : frozen.tuned_parts()) {
    for (auto& parameter : frozen.network(part)->parameters()) parameter.set_requires_grad(false);
  }
  return frozen;
}

/// A worker's share of what a step shows.
struct ShownConditions {
  std::vector<std::string> captions;
  Tensor condition;  // [B,C,H,W]
};

/// One share of a batch: noisy latents, texts and condition pictures.
struct Conditioned {
  NoisyBatch batch;
  std::vector<std::string> captions;
  Tensor condition;  // [B,C,H,W], undefined: without adapter
};

Tensor denoising_error(const diffusion::Model& base, nn::T2IAdapter adapter,
                       const Conditioned& share) {
  auto unet = base.unet;
  const auto device = device_of(*unet);
  nn::UNetResiduals residuals;
  if (share.condition.defined()) {
    residuals.adapter = adapter(share.condition.to(device, kCompute));
  }
  const auto context = encode_captions(base.towers.front(), share.captions);
  const auto output = unet(share.batch.noisy.to(device, kCompute), share.batch.timesteps.to(device),
                           context, residuals);
  return (output.to(torch::kFloat32) - share.batch.target.to(device)).square().mean();
}

struct AdapterLoss {
  nn::T2IAdapter adapter;
  const diffusion::Model& base;
  const Dataset& data;
  const LatentStore& latents;
  AdapterOptions options;
  ConditionKind kind;
  EpochOrder order;
  Share share;
  std::shared_ptr<Ahead<ShownConditions>> ahead = nullptr;  // empty on a CPU

  ShownConditions show(std::int64_t step) {
    const auto indices = order.batch(step, options.train.batch);
    const auto captions =
        draw_captions(data, indices, options.train.seed, step, {.empty = options.empty_captions});
    const auto mine = share.part(indices);
    const auto first = captions.begin() + share.begin(indices.size(0));
    return {{first, first + mine.size(0)}, condition_pictures(data, Split::kTrain, mine, kind)};
  }

  Tensor operator()(std::int64_t step) {
    auto shown = ahead ? ahead->take(step) : show(step);
    auto generator = generator_of_step(options.train.seed, step);
    const auto indices = order.batch(step, options.train.batch);
    const auto clean = latents.batch(indices, /*canvas=*/0);
    // Noisy steps more often: layout, which the condition is about, is decided there (T2I-Adapter,
    // section 3.4).
    const auto batch = add_noise(base.schedule, clean, generator, TimestepDraw::kCubic);
    return denoising_error(base, adapter,
                           {.batch = {.noisy = share.part(batch.noisy),
                                      .timesteps = share.part(batch.timesteps),
                                      .target = share.part(batch.target)},
                            .captions = std::move(shown.captions),
                            .condition = shown.condition});
  }
};

nn::T2IAdapterConfig adapter_config(const AdapterOptions& options, const nn::UNetConfig& unet,
                                    std::int64_t picture_side) {
  return {.kind = nn::T2IAdapterKind::kFull,
          .in_channels = condition_kind(options.kind) == ConditionKind::kKeypose ? 3 : 1,
          .channels = unet.block_out_channels,
          .num_res_blocks = options.num_res_blocks,
          .downscale_factor = picture_side / unet.sample_size};
}

/// Denoising error on held-out pictures with fixed noise, with the adapter and without.
class Validation {
 public:
  Validation(const diffusion::Model& frozen, const Dataset& data, ConditionKind kind)
      : frozen_(frozen) {
    const torch::NoGradGuard no_grad;
    auto vae = frozen.vae;
    const auto count = std::min(kMeasuredForLoss, data.size(Split::kHeldOut));
    const auto indices = torch::arange(count);
    auto generator = generator_of_step(kLossSeed, 0);
    const auto clean =
        vae->encode(data.batch(Split::kHeldOut, indices, kCompute).to(device_of(*vae)))
            .mean.to(torch::kCPU, torch::kFloat32);
    pictures_.batch = add_noise(frozen.schedule, clean * vae->config().scaling_factor, generator,
                                TimestepDraw::kUniform);
    for (std::int64_t i = 0; i < count; ++i) {
      pictures_.captions.push_back(data.caption(Split::kHeldOut, i));
    }
    conditions_ = condition_pictures(data, Split::kHeldOut, indices, kind);
  }

  Json operator()(const nn::T2IAdapter& adapter) const {
    const torch::NoGradGuard no_grad;
    auto pictures = pictures_;
    const double without = denoising_error(frozen_, adapter, pictures).item<double>();
    // The same noise with and without: the difference is the adapter's.
    pictures.condition = conditions_;
    const double with = denoising_error(frozen_, adapter, pictures).item<double>();
    return {{"held_out_loss", with}, {"held_out_loss_without", without}};
  }

 private:
  const diffusion::Model& frozen_;
  Conditioned pictures_;
  Tensor conditions_;
};

}  // namespace

const char* name_of(ConditionKind kind) {
  return kind == ConditionKind::kKeypose ? "keypose" : "sketch";
}

ConditionKind condition_kind(const std::string& name) {
  if (name == "keypose") return ConditionKind::kKeypose;
  if (name == "sketch") return ConditionKind::kSketch;
  throw Error(ErrorKind::kUsage, fmt::format("--kind is \"{}\", expected keypose or sketch", name));
}

std::filesystem::path adapter_folder(const std::filesystem::path& base, ConditionKind kind) {
  return base / fmt::format("adapter_{}", name_of(kind));
}

Tensor condition_pictures(const Dataset& data, Split split, const Tensor& indices,
                          ConditionKind kind) {
  std::vector<Tensor> pictures;
  for (std::int64_t i = 0; i < indices.size(0); ++i) {
    pictures.push_back(condition_of(data, split, indices[i].item<std::int64_t>(), kind));
  }
  return torch::stack(pictures).permute({0, 3, 1, 2}).to(torch::kFloat32).contiguous() / 255.0;
}

void train_adapter(const std::filesystem::path& base, const AdapterOptions& options,
                   const ProgressCallback& progress, const CancelToken* cancel) {
  const auto kind = condition_kind(options.kind);
  const Dataset data(base);
  const auto device = device_named(options.device);
  const auto train_options = on_device(options.train, device);
  const LatentStore latents({base, data, device}, progress, cancel);
  const auto frozen = load_frozen(base, device);
  const auto config = adapter_config(options, frozen.unet->config(), data.world().options.size);
  const auto folder = adapter_folder(base, kind);
  make_folders(folder);
  write_json(folder / "config.json", config.to_json());

  nn::T2IAdapter adapter(config);
  auto generator = seeded_generator(static_cast<std::uint64_t>(options.train.seed));
  initialise_network(*adapter, generator);
  adapter->to(device);
  nn::use_engine(*adapter, nn::Engine::kFused);
  FlatAdamW optimizer(*adapter, {.weight_decay = options.train.weight_decay,
                                 .average = options.train.average,
                                 .working_dtype = kCompute});
  AdapterLoss loss{.adapter = adapter,
                   .base = frozen,
                   .data = data,
                   .latents = latents,
                   .options = options,
                   .kind = kind,
                   .order = EpochOrder(latents.size(/*canvas=*/0), options.train.seed),
                   .share = {}};
  loss.ahead = made_ahead(loss, &AdapterLoss::show, device);
  const auto replica = [&] {
    nn::T2IAdapter copy(config);
    nn::use_engine(*copy, nn::Engine::kFused);
    optimizer.add_replica(*copy);
    return copy;
  };
  const Validation validation(frozen, data, kind);
  run_training(optimizer,
               {.stage = fmt::format("{} adapter", name_of(kind)),
                .folder = folder,
                .options = train_options,
                .losses = shared_losses(loss, &AdapterLoss::adapter, replica, train_options),
                .measure = [&](std::int64_t) { return validation(adapter); },
                .progress = progress,
                .cancel = cancel});
}

std::vector<ConditionKind> trained_adapters(const std::filesystem::path& base) {
  std::vector<ConditionKind> kinds;
  for (const auto kind : {ConditionKind::kKeypose, ConditionKind::kSketch}) {
    if (checkpoint_step(adapter_folder(base, kind)) > 0) kinds.push_back(kind);
  }
  return kinds;
}

nn::T2IAdapter load_adapter(const std::filesystem::path& base, ConditionKind kind,
                            torch::ScalarType dtype) {
  const auto folder = adapter_folder(base, kind);
  nn::T2IAdapter adapter(nn::T2IAdapterConfig::from_json(read_json_file(folder / "config.json")));
  adapter->to(dtype);
  io::load_into(*adapter, averaged_weights(folder), {.origin = folder.string()});
  return adapter;
}

}  // namespace mos::pretrain
