#include "mos/pretrain/latents.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "mos/base/file.h"
#include "mos/base/log.h"
#include "mos/base/sha256.h"
#include "mos/base/stopwatch.h"
#include "mos/io/safetensors.h"
#include "mos/pretrain/vae_training.h"

namespace mos::pretrain {

using torch::Tensor;
using world::Split;

namespace {

constexpr auto kLatentType = torch::kBFloat16;
constexpr std::int64_t kEncodeBatch = 32, kEncodeBatchOnGpu = 256;
constexpr const char* kMadeBy = "vae_sha256";

struct ChunkPlace {
  std::size_t canvas = 0;
  std::int64_t first = 0, last = 0;
};

std::filesystem::path chunk_path(const std::filesystem::path& base, const ChunkPlace& place) {
  return base / "data" / "latents" /
         fmt::format("canvas{}_{:06}.safetensors", place.canvas, place.first);
}

/// Of the encoder and all else that base/vae holds; the decoder's last training writes elsewhere.
std::string vae_digest(const std::filesystem::path& base) {
  const auto path = base / "vae" / "model.safetensors";
  if (!std::filesystem::exists(path)) finished_vae(base);  // says what to do
  return sha256_of(read_whole_file(path));
}

/// The latents of a chunk if they are there and of this VAE.
std::optional<Tensor> stored_chunk(const std::filesystem::path& path, const ChunkPlace& place,
                                   const std::string& digest) {
  if (!std::filesystem::exists(path)) return std::nullopt;
  const io::SafetensorsFile file(path);
  const auto made_by = file.metadata().find(kMadeBy);
  // Latents of another VAE look like latents, and a U-Net would learn them without a complaint.
  if (made_by == file.metadata().end() || made_by->second != digest) {
    log::info(fmt::format("{} is of another VAE: made anew", path.string()));
    return std::nullopt;
  }
  auto latents = file.get("latents");
  if (latents.size(0) != place.last - place.first) return std::nullopt;
  return latents;
}

/// Makes the chunks that are missing, and tells how far it is.
class Encoder {
 public:
  Encoder(const LatentSource& source, const ProgressCallback& progress, const CancelToken* cancel)
      : base_(source.base),
        data_(source.data),
        device_(source.device),
        progress_(progress),
        cancel_(cancel),
        digest_(vae_digest(source.base)) {
    for (std::size_t canvas = 0; canvas < data_.canvases(); ++canvas) {
      total_ += data_.size(Split::kTrain, canvas);
    }
  }

  Tensor chunk(const ChunkPlace& place) {
    const auto path = chunk_path(base_, place);
    auto latents = stored_chunk(path, place, digest_);
    done_ += place.last - place.first;
    if (latents) return *latents;
    std::filesystem::create_directories(path.parent_path());
    io::save_safetensors(path, {{"latents", encode(place)}}, {{kMadeBy, digest_}});
    // Mapped from the file, not kept in memory: all of them have gigabytes.
    return io::SafetensorsFile(path).get("latents");
  }

 private:
  void open_vae() {
    vae_ = load_vae(base_);
    vae_->to(device_, kLatentType);
    nn::use_engine(*vae_, nn::Engine::kFused);
  }

  Tensor encode(const ChunkPlace& place) {
    const torch::NoGradGuard no_grad;
    if (vae_.is_empty()) open_vae();
    const double scale = vae_->config().scaling_factor;
    std::vector<Tensor> parts;
    const auto size = device_.is_cpu() ? kEncodeBatch : kEncodeBatchOnGpu;
    for (auto i = place.first; i < place.last; i += size) {
      if (cancel_ != nullptr) cancel_->check();
      const auto indices = torch::arange(i, std::min(i + size, place.last));
      const auto pictures = data_.pictures(Split::kTrain, indices, place.canvas).to(device_);
      const auto latents = vae_->encode(to_network(pictures, kLatentType)).mean * scale;
      parts.push_back(latents.contiguous().to(torch::kCPU));
      report(done_ - place.last + indices[-1].item<std::int64_t>() + 1);
    }
    return torch::cat(parts);
  }

  void report(std::int64_t done) const {
    if (!progress_) return;
    progress_({.stage = "encoding pictures",
               .step = done,
               .total = total_,
               .loss = std::nan(""),
               .seconds = watch_.seconds()});
  }

  const std::filesystem::path& base_;
  const Dataset& data_;
  torch::Device device_;
  const ProgressCallback& progress_;
  const CancelToken* cancel_;
  std::string digest_;
  nn::AutoencoderKL vae_{nullptr};
  std::int64_t done_ = 0, total_ = 0;
  Stopwatch watch_;
};

}  // namespace

LatentStore::LatentStore(const LatentSource& source, const ProgressCallback& progress,
                         const CancelToken* cancel) {
  const auto& data = source.data;
  Encoder encoder(source, progress, cancel);
  for (std::size_t canvas = 0; canvas < data.canvases(); ++canvas) {
    sizes_.push_back(data.size(Split::kTrain, canvas));
    auto& chunks = chunks_.emplace_back();
    for (std::int64_t first = 0; first < sizes_.back(); first += kChunk) {
      chunks.push_back(encoder.chunk({canvas, first, std::min(first + kChunk, sizes_.back())}));
    }
    if (source.device.is_cpu()) continue;
    on_device_.push_back(chunks.empty() ? Tensor() : torch::cat(chunks).to(source.device));
  }
}

Tensor LatentStore::batch(const Tensor& indices, std::size_t canvas) const {
  if (!on_device_.empty()) {
    const auto& all = on_device_.at(canvas);
    return all.index_select(0, indices.to(all.device())).to(torch::kFloat32);
  }
  std::vector<Tensor> rows;
  const auto* index = indices.data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < indices.size(0); ++i) {
    rows.push_back(
        chunks_.at(canvas).at(static_cast<std::size_t>(index[i] / kChunk))[index[i] % kChunk]);
  }
  return torch::stack(rows).to(torch::kFloat32);
}

}  // namespace mos::pretrain
