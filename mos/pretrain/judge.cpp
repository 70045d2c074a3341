#include "mos/pretrain/judge.h"

#include <algorithm>
#include <array>

#include "mos/pretrain/tower_training.h"
#include "mos/pretrain/tower_views.h"
#include "mos/pretrain/trainer.h"

namespace mos::pretrain {

using torch::Tensor;
using world::Split;

namespace {

constexpr std::int64_t kJudgeBatch = 64;

Tensor embed_square(nn::CLIPModel& towers, const Tensor& squares) {
  const auto pixels = nn::normalise_pixels(squares * 0.5 + 0.5).to(device_of(*towers));
  return towers->image_embeds(pixels).to(torch::kCPU, torch::kFloat32);
}

/// The first `count` held-out pictures of a canvas with `subjects` subjects.
std::vector<std::int64_t> held_out_with(const Dataset& data, std::size_t canvas,
                                        std::size_t subjects, std::int64_t count) {
  std::vector<std::int64_t> indices;
  const auto size = data.size(Split::kHeldOut, canvas);
  for (std::int64_t i = 0; i < size && static_cast<std::int64_t>(indices.size()) < count; ++i) {
    if (data.layout(Split::kHeldOut, i, canvas).caption.subjects.size() == subjects) {
      indices.push_back(i);
    }
  }
  return indices;
}

/// Right and seen pictures.
struct Count {
  double right = 0.0, all = 0.0;
  double share() const { return all == 0.0 ? 0.0 : right / all; }
};

/// Adds how often all subjects of the pictures are told.
void count_subjects(Judge& judge, const Dataset& data, std::size_t canvas,
                    const std::vector<std::int64_t>& indices, Count& count) {
  if (indices.empty()) return;
  std::vector<std::int64_t> classes;
  for (const auto index : indices) {
    for (const auto& s : data.layout(Split::kHeldOut, index, canvas).caption.subjects) {
      classes.push_back(s.class_index);
    }
  }
  const auto rows = static_cast<std::int64_t>(indices.size());
  const auto wanted = torch::tensor(classes).view({rows, -1});
  const auto found = judge.subjects(data.pictures(Split::kHeldOut, torch::tensor(indices), canvas),
                                    wanted.size(1));
  count.right += found.eq(wanted).all(1).sum().item<double>();
  count.all += static_cast<double>(rows);
}

}  // namespace

std::vector<std::string> subject_prompts(const world::World& world) {
  std::vector<std::string> prompts;
  for (const auto& subject : world.classes) {
    prompts.push_back("a photo of " + world::with_article(subject.name));
  }
  return prompts;
}

std::vector<std::string> style_prompts(const world::World& world) {
  std::vector<std::string> prompts;
  for (const auto& style : world.styles) prompts.push_back(style.name + " style");
  return prompts;
}

std::vector<std::string> background_prompts(const world::World& world) {
  std::vector<std::string> prompts;
  for (const auto& scene : world.scenes) prompts.push_back("a photo " + scene.phrase);
  for (const auto& colour : world.colours) {
    prompts.push_back("a photo on " + world::with_article(colour.name + " background"));
  }
  return prompts;
}

std::int64_t background_of(const world::World& world, const world::CaptionSpec& spec) {
  const auto scenes = static_cast<std::int64_t>(world.scenes.size());
  return spec.background_index + (spec.background == world::BackgroundKind::kScene ? 0 : scenes);
}

Judge::Judge(nn::CLIPModel towers, const text::CLIPTokenizer& tokenizer, const world::World& world)
    : towers_(std::move(towers)), tokenizer_(tokenizer), world_(world) {
  subjects_ = embeds(subject_prompts(world));
  styles_ = embeds(style_prompts(world));
  backgrounds_ = embeds(background_prompts(world));
}

Tensor Judge::nearest(const Tensor& images, const Tensor& prompts) const {
  return images.mm(prompts.t()).argmax(1);
}

Tensor Judge::subjects(const Tensor& pictures, std::int64_t count) {
  std::vector<Tensor> pieces;
  for (std::int64_t i = 0; i < count; ++i) {
    // Subjects stand side by side, so each is told alone, in its own piece.
    const auto columns = piece_of(pictures.size(2), i, count);
    pieces.push_back(
        nearest(embeds(pictures.narrow(2, columns.left, columns.right - columns.left)), subjects_));
  }
  return torch::stack(pieces, 1);
}

Tensor Judge::backgrounds(const Tensor& pictures) {
  return nearest(embeds(pictures), backgrounds_);
}

Tensor Judge::styles(const Tensor& pictures) { return nearest(embeds(pictures), styles_); }

Tensor Judge::embeds(const Tensor& pictures) {
  const torch::NoGradGuard no_grad;
  const auto side = towers_->vision_config().image_size;
  std::vector<Tensor> parts;
  for (const auto& part : pictures.split(kJudgeBatch)) {
    parts.push_back(embed_square(towers_, squeezed(part, side)));
  }
  return torch::cat(parts);
}

Tensor Judge::features(const Tensor& pictures) {
  const torch::NoGradGuard no_grad;
  const auto side = towers_->vision_config().image_size;
  std::vector<Tensor> parts;
  for (const auto& part : pictures.split(kJudgeBatch)) {
    const auto pixels = nn::normalise_pixels(squeezed(part, side) * 0.5 + 0.5);
    const auto seen = towers_->vision(pixels.to(device_of(*towers_)));
    parts.push_back(seen.pooler_output.to(torch::kCPU, torch::kFloat32));
  }
  return torch::cat(parts);
}

Tensor Judge::embeds(const std::vector<std::string>& captions) {
  const torch::NoGradGuard no_grad;
  std::vector<Tensor> parts;
  // Texts are short: twice as many fit where pictures do.
  for (const auto& part : token_ids(tokenizer_, captions).split(2 * kJudgeBatch)) {
    const auto embeds = towers_->text_embeds(part.to(device_of(*towers_)));
    parts.push_back(embeds.to(torch::kCPU, torch::kFloat32));
  }
  return torch::cat(parts);
}

JudgeFigures measure_judge(Judge& judge, const Dataset& data, std::int64_t pictures) {
  JudgeFigures figures;
  Count single, both, three;
  count_subjects(judge, data, 0, held_out_with(data, 0, 1, pictures), single);
  for (std::size_t canvas = 0; canvas < std::min<std::size_t>(3, data.canvases()); ++canvas) {
    count_subjects(judge, data, canvas, held_out_with(data, canvas, 2, pictures / 3), both);
  }
  if (data.canvases() > 3) {
    count_subjects(judge, data, 3, held_out_with(data, 3, 3, pictures), three);
  }
  const auto indices = torch::arange(std::min(pictures, data.size(Split::kHeldOut)));
  const auto squares = data.pictures(Split::kHeldOut, indices);
  const auto backgrounds = judge.backgrounds(squares), styles = judge.styles(squares);
  Count background, style;
  for (std::int64_t i = 0; i < indices.size(0); ++i) {
    const auto spec = data.layout(Split::kHeldOut, i).caption;
    background.all += 1.0;
    const bool right = backgrounds[i].item<std::int64_t>() == background_of(data.world(), spec);
    background.right += right ? 1.0 : 0.0;
    // A scene alone shows no style that a subject would.
    if (spec.subjects.empty()) continue;
    style.all += 1.0;
    style.right += styles[i].item<std::int64_t>() == spec.style ? 1.0 : 0.0;
  }
  return {.single = single.share(),
          .both = both.share(),
          .three = three.share(),
          .background = background.share(),
          .style = style.share()};
}

}  // namespace mos::pretrain
