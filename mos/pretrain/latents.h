#pragma once

#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <vector>

#include "mos/base/progress.h"
#include "mos/pretrain/data.h"

namespace mos::pretrain {

/// What latents are made of, and where they are wanted.
struct LatentSource {
  const std::filesystem::path& base;
  const Dataset& data;
  torch::Device device = torch::kCPU;
};

/// Latents of the training pictures: the means of the base's VAE, bfloat16, computed once and
/// memory-mapped from `base`/data/latents in files of kChunk pictures. Each file names the VAE that
/// made it; those of another VAE are made anew.
class LatentStore {
 public:
  static constexpr std::int64_t kChunk = 2048;

  /// Makes what is missing; when cancelled, what is done stays. On another device than the CPU
  /// latents are made there, and all of them kept in its memory.
  LatentStore(const LatentSource& source, const ProgressCallback& progress,
              const CancelToken* cancel);

  std::size_t canvases() const { return chunks_.size(); }
  std::int64_t size(std::size_t canvas) const { return sizes_.at(canvas); }
  std::int64_t channels() const { return chunks_.front().front().size(1); }
  std::int64_t height(std::size_t canvas) const { return chunks_.at(canvas).front().size(2); }
  std::int64_t width(std::size_t canvas) const { return chunks_.at(canvas).front().size(3); }

  /// Latents of pictures `indices` int64 [B] of one canvas: float32 [B,C,h,w] on the device.
  torch::Tensor batch(const torch::Tensor& indices, std::size_t canvas) const;

 private:
  std::vector<std::vector<torch::Tensor>> chunks_;  // of each canvas, bfloat16 [n,C,h,w]
  std::vector<torch::Tensor> on_device_;            // all of a canvas; empty on a CPU
  std::vector<std::int64_t> sizes_;
};

}  // namespace mos::pretrain
