#pragma once

#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "mos/base/progress.h"
#include "mos/nn/limits.h"
#include "mos/nn/t2i_adapter.h"
#include "mos/pretrain/data.h"
#include "mos/pretrain/trainer.h"

/// Small T2I-Adapters for the embedded base, which itself stays as it is.
namespace mos::pretrain {

struct AdapterOptions {
  TrainOptions train{.steps = 2400,
                     .batch = 32,
                     .learning_rate = 1e-3,
                     .warmup = 50,
                     .average = 0.99,
                     .sheet_minutes = 100.0};
  std::string kind = "keypose";
  std::int64_t num_res_blocks = 2;
  double empty_captions = 0.1;
  std::string device = "cpu";
};

template <class Visitor>
void describe(Visitor& visit, AdapterOptions& options) {
  describe(visit, options.train);
  visit("kind", options.kind, "keypose (where subjects stand) or sketch (edges)",
        one_of({"keypose", "sketch"}));
  visit("num_res_blocks", options.num_res_blocks, "residual blocks in each level",
        count_of(1, nn::kMostLayers));
  visit("empty_captions", options.empty_captions, "share of pictures trained without caption",
        between(0, 1));
  visit("device", options.device, "cpu, cuda or cuda:1");
}

/// What a condition picture of the drawn world shows.
enum class ConditionKind { kKeypose, kSketch };

const char* name_of(ConditionKind kind);

/// Throws kUsage for other names than keypose and sketch.
ConditionKind condition_kind(const std::string& name);

/// The condition pictures of `indices` [B] of `split`: [B,3,H,W] (keypose) or [B,1,H,W] (sketch)
/// float32 in 0…1.
torch::Tensor condition_pictures(const Dataset& data, world::Split split,
                                 const torch::Tensor& indices, ConditionKind kind);

/// `base`/adapter_KIND.
std::filesystem::path adapter_folder(const std::filesystem::path& base, ConditionKind kind);

/// Trains an adapter for the finished U-Net of `base`, in adapter_folder; resumes from its
/// checkpoint.
/// Throws kUsage for an unknown kind, kIo where an earlier stage is missing.
void train_adapter(const std::filesystem::path& base, const AdapterOptions& options,
                   const ProgressCallback& progress, const CancelToken* cancel);

/// The kinds that have a checkpoint in `base`.
std::vector<ConditionKind> trained_adapters(const std::filesystem::path& base);

/// The averaged adapter of the latest checkpoint of `base`, with weights in `dtype`.
nn::T2IAdapter load_adapter(const std::filesystem::path& base, ConditionKind kind,
                            torch::ScalarType dtype);

}  // namespace mos::pretrain
