#include "mos/pretrain/data.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "mos/base/describe.h"
#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/pretrain/stage.h"
#include "mos/world/vocabulary.h"

namespace mos::pretrain {

using torch::Tensor;
using world::Split;

namespace {

std::filesystem::path options_path(const std::filesystem::path& base) {
  return options_of_stage(base / "data");
}

DataOptions saved_options(const std::filesystem::path& base) {
  const auto path = options_path(base);
  if (!std::filesystem::exists(path)) {
    throw Error(ErrorKind::kIo, fmt::format("{} does not say which pictures to train on; run "
                                            "`mos pretrain data --sprites DIR --out {}`",
                                            base.string(), base.string()));
  }
  return kept_options<DataOptions>(path.parent_path());
}

}  // namespace

void Dataset::prepare(const std::filesystem::path& base, const DataOptions& options) {
  const auto text = write_options(options).dump(2) + "\n";
  const auto path = options_path(base);
  // Latents and checkpoints belong to the pictures that they were made of.
  if (std::filesystem::exists(path) && read_text_file(path) != text) {
    throw Error(ErrorKind::kUsage,
                fmt::format("{} has been made for pictures of other options; choose another folder "
                            "or remove its data folder",
                            base.string()));
  }
  // Loads every sprite: one that is missing shows now, not in the middle of a batch.
  const world::Compositor all_there(world::make_world(options.world), options.sprites);
  world::write_vocabulary(base / "tokenizer");
  make_folders(base / "data");
  write_text_file(path, text);
}

Dataset::Dataset(const std::filesystem::path& base)
    : options_(saved_options(base)),
      compositor_(world::make_world(options_.world), options_.sprites) {}

std::int64_t Dataset::size(Split split, std::size_t canvas) const {
  const auto& kinds = world().canvases;
  double sum = 0.0;
  for (const auto& kind : kinds) sum += kind.share;
  const auto all = split == Split::kTrain ? options_.pictures : options_.held_out;
  return std::llround(static_cast<double>(all) * kinds.at(canvas).share / sum);
}

world::Layout Dataset::layout(Split split, std::int64_t index, std::size_t canvas) const {
  return world::layout_of(world(), {split, static_cast<std::uint64_t>(index), canvas});
}

std::string Dataset::caption(Split split, std::int64_t index, std::size_t canvas) const {
  return world::caption_text(world(), layout(split, index, canvas).caption);
}

Tensor Dataset::pictures(Split split, const Tensor& indices, std::size_t canvas) const {
  return compositor_.pictures(split, indices, canvas);
}

Tensor Dataset::batch(Split split, const Tensor& indices, torch::ScalarType dtype,
                      std::size_t canvas) const {
  return to_network(pictures(split, indices, canvas), dtype);
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
  // The next free one: no draw is repeated, so a seed always takes as many numbers.
  while (present(candidate)) candidate = (candidate + 1) % count;
  return candidate;
}

}  // namespace mos::pretrain
