#include "mos/pretrain/data.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>

#include "mos/base/describe.h"
#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/io/safetensors.h"
#include "mos/world/vocabulary.h"

namespace mos::pretrain {

using torch::Tensor;
using world::Split;

namespace {

constexpr std::int64_t kChunk = 200;  // pictures between two progress reports

std::filesystem::path options_path(const std::filesystem::path& base) {
  return base / "data" / "options.json";
}

std::filesystem::path pictures_path(const std::filesystem::path& base) {
  return base / "data" / "pictures.safetensors";
}

DataOptions saved_options(const std::filesystem::path& base) {
  const auto path = options_path(base);
  if (!std::filesystem::exists(path)) {
    throw Error(ErrorKind::kIo, fmt::format("{} holds no pictures to train on; render them with "
                                            "`mos pretrain data --out {}`",
                                            base.string(), base.string()));
  }
  DataOptions options;
  read_options(read_json_file(path), path.string(), options);
  return options;
}

Tensor render(const world::Compositor& compositor, Split split, std::int64_t count,
              const ProgressCallback& progress, const CancelToken* cancel) {
  const auto start = std::chrono::steady_clock::now();
  std::vector<Tensor> parts;
  for (std::int64_t done = 0; done < count;) {
    if (cancel != nullptr) cancel->check();
    const auto chunk = std::min(kChunk, count - done);
    parts.push_back(compositor.pictures(split, static_cast<std::uint64_t>(done), chunk));
    done += chunk;
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
    if (progress) {
      progress({.stage = "rendering pictures",
                .step = done,
                .total = count,
                .loss = std::nan(""),
                .seconds = spent.count()});
    }
  }
  return torch::cat(parts);
}

std::vector<world::CaptionSpec> specs_of(const world::Compositor& compositor, Split split,
                                         std::int64_t count) {
  std::vector<world::CaptionSpec> specs;
  for (std::int64_t i = 0; i < count; ++i) {
    specs.push_back(compositor.layout(split, static_cast<std::uint64_t>(i)).caption);
  }
  return specs;
}

}  // namespace

void Dataset::prepare(const std::filesystem::path& base, const DataOptions& options,
                      const ProgressCallback& progress, const CancelToken* cancel) {
  world::write_vocabulary(base / "tokenizer");
  const auto text = write_options(options).dump(2) + "\n";
  if (std::filesystem::exists(options_path(base))) {
    if (read_text_file(options_path(base)) == text) return;
    throw Error(ErrorKind::kUsage,
                fmt::format("{} holds pictures of other options; choose another folder or remove "
                            "its data folder",
                            base.string()));
  }
  const world::Compositor compositor(world::make_world(options.world), options.sprites);
  std::filesystem::create_directories(base / "data");
  io::save_safetensors(
      pictures_path(base),
      {{"train", render(compositor, Split::kTrain, options.pictures, progress, cancel)},
       {"held_out", render(compositor, Split::kHeldOut, options.held_out, progress, cancel)}});
  write_text_file(options_path(base), text);
}

Dataset::Dataset(const std::filesystem::path& base)
    : options_(saved_options(base)),
      compositor_(world::make_world(options_.world), options_.sprites) {
  const io::SafetensorsFile file(pictures_path(base));
  train_ = file.get("train");
  held_out_ = file.get("held_out");
  train_specs_ = specs_of(compositor_, Split::kTrain, train_.size(0));
  held_out_specs_ = specs_of(compositor_, Split::kHeldOut, held_out_.size(0));
}

const Tensor& Dataset::pictures(Split split) const {
  return split == Split::kTrain ? train_ : held_out_;
}

const std::vector<world::CaptionSpec>& Dataset::specs(Split split) const {
  return split == Split::kTrain ? train_specs_ : held_out_specs_;
}

std::string Dataset::caption(Split split, std::int64_t index) const {
  return world::caption_text(world(), specs(split).at(static_cast<std::size_t>(index)));
}

Tensor Dataset::batch(Split split, const Tensor& indices, torch::ScalarType dtype) const {
  return to_network(pictures(split).index_select(0, indices), dtype);
}

Tensor to_network(const Tensor& pictures, torch::ScalarType dtype) {
  return (pictures.to(torch::kFloat32) / 127.5 - 1.0).to(dtype).permute({0, 3, 1, 2});
}

Tensor from_network(const Tensor& pictures) {
  const auto levels = (pictures.to(torch::kFloat32).clamp(-1, 1) + 1.0) * 127.5;
  return levels.round().to(torch::kUInt8).permute({0, 2, 3, 1}).contiguous();
}

int other_class(const world::World& world, const world::CaptionSpec& spec, world::Rng& rng) {
  const auto count = static_cast<int>(world.classes.size());
  const auto present = [&spec](int candidate) {
    return std::any_of(spec.subjects.begin(), spec.subjects.end(),
                       [candidate](const auto& s) { return s.class_index == candidate; });
  };
  if (count <= static_cast<int>(spec.subjects.size())) {
    throw Error(ErrorKind::kUsage, "the world has no class that a caption could be changed to");
  }
  int candidate = rng.below(count);
  while (present(candidate)) candidate = (candidate + 1) % count;
  return candidate;
}

}  // namespace mos::pretrain
