#include "mos/eval/clip_score.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "mos/base/error.h"
#include "mos/base/json.h"
#include "mos/io/image.h"
#include "mos/io/safetensors.h"
#include "mos/io/state_dict.h"

namespace mos::eval {

using torch::Tensor;

namespace {

constexpr double kClipScoreFactor = 2.5;  // Hessel et al. 2021

/// One picture [H,W,3] as [3,side,side] in 0…1.
Tensor fitted(const Tensor& picture, std::int64_t side) {
  const auto height = picture.size(0), width = picture.size(1);
  const auto shorter = std::min(height, width);
  const auto scaled = [&](std::int64_t length) { return (length * side + shorter / 2) / shorter; };
  const auto resized =
      io::resize_area(picture.to(torch::kFloat32).contiguous(), scaled(height), scaled(width));
  const auto top = (resized.size(0) - side) / 2, left = (resized.size(1) - side) / 2;
  return resized.slice(0, top, top + side).slice(1, left, left + side).permute({2, 0, 1}) / 255.0;
}

Tensor positive_cosines(const Tensor& a, const Tensor& b) { return a.matmul(b.t()).clamp_min(0.0); }

}  // namespace

Tensor clip_pixels(const Tensor& pictures, std::int64_t side) {
  std::vector<Tensor> fit;
  for (std::int64_t i = 0; i < pictures.size(0); ++i) {
    fit.push_back(nn::normalise_pixels(fitted(pictures[i], side)));
  }
  return torch::stack(fit);
}

ClipScorer::ClipScorer(nn::CLIPModel model, text::CLIPTokenizer tokenizer,
                       const nn::Compute& compute)
    : model_(std::move(model)), tokenizer_(std::move(tokenizer)), compute_(compute) {
  model_->to(compute_.device, compute_.dtype);
}

ClipScorer ClipScorer::load(const std::filesystem::path& directory,
                            const std::filesystem::path& tokenizer_directory,
                            const nn::Compute& compute) {
  nn::CLIPModel model(nn::CLIPModelImpl::from_json(read_json_file(directory / "config.json")));
  const auto weights = directory / "model.safetensors";
  io::load_into(*model, io::load_safetensors(weights), {.origin = weights.string()});
  return {std::move(model), text::CLIPTokenizer::from_directory(tokenizer_directory), compute};
}

ClipScorer ClipScorer::load_judge(const std::filesystem::path& base, const nn::Compute& compute) {
  const auto judge = base / "judge";
  if (std::filesystem::exists(judge)) return load(judge, judge, compute);
  return load(base / "clip", base / "tokenizer", compute);
}

Tensor ClipScorer::image_embeds(const Tensor& pictures) {
  torch::NoGradGuard no_grad;
  const auto pixels = clip_pixels(pictures, model_->vision_config().image_size);
  return model_->image_embeds(pixels.to(compute_.device, compute_.dtype))
      .to(torch::kCPU, torch::kFloat32);
}

Tensor ClipScorer::text_embeds(std::span<const std::string> texts) {
  torch::NoGradGuard no_grad;
  std::vector<Tensor> ids;
  for (const auto& text : texts) ids.push_back(torch::tensor(tokenizer_.encode_padded(text)));
  return model_->text_embeds(torch::stack(ids).to(compute_.device))
      .to(torch::kCPU, torch::kFloat32);
}

ImageAlignment image_alignment(const Tensor& generated, const Tensor& references) {
  const auto cosines = positive_cosines(generated, references);  // [G,R]
  return {cosines.mean().item<double>(), cosines.select(1, 0).mean().item<double>()};
}

double leave_one_out_alignment(const Tensor& references) {
  const auto count = references.size(0);
  if (count < 2) {
    throw Error(ErrorKind::kUsage, "how alike pictures are among themselves takes two at least");
  }
  const auto cosines = positive_cosines(references, references).to(torch::kFloat64);
  const auto others = cosines.sum() - cosines.diag().sum();
  return (others / static_cast<double>(count * (count - 1))).item<double>();
}

double text_alignment(const Tensor& generated, const Tensor& text) {
  return kClipScoreFactor * positive_cosines(generated, text.view({1, -1})).mean().item<double>();
}

double bleeding_margin(const Tensor& crops, std::size_t own, std::span<const Tensor> references) {
  double of_own = 0.0;
  double best_other = -std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < references.size(); ++i) {
    const auto alignment = image_alignment(crops, references[i]).all_pairs;
    if (i == own) {
      of_own = alignment;
    } else {
      best_other = std::max(best_other, alignment);
    }
  }
  if (references.size() < 2) {
    throw Error(ErrorKind::kUsage, "a bleeding margin needs at least two concepts in the picture");
  }
  return of_own - best_other;
}

}  // namespace mos::eval
