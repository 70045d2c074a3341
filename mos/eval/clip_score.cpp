#include "mos/eval/clip_score.h"

#include <fmt/core.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "mos/base/error.h"
#include "mos/base/json.h"
#include "mos/checkpoint/no_model.h"
#include "mos/io/state_dict.h"
#include "mos/io/tensor_file.h"

namespace mos::eval {

namespace fs = std::filesystem;
using torch::Tensor;

namespace {

constexpr double kClipScoreFactor = 2.5;  // Hessel et al. 2021

Tensor positive_cosines(const Tensor& a, const Tensor& b) { return a.matmul(b.t()).clamp_min(0.0); }

/// Weights as transformers stores them, in either of its formats.
io::StateDict weights_in(const fs::path& directory) {
  for (const char* name : {"model.safetensors", "pytorch_model.bin"}) {
    if (fs::exists(directory / name)) return io::read_tensor_file(directory / name).tensors;
  }
  throw Error(ErrorKind::kIo, fmt::format("{} has no model.safetensors and no pytorch_model.bin",
                                          directory.string()));
}

/// float32 [B,3,side,side].
Tensor all_pixels(const Tensor& pictures, const PictureInput& input) {
  std::vector<Tensor> pixels;
  for (const auto& picture : pictures.unbind(0)) pixels.push_back(tower_pixels(picture, input));
  return torch::stack(pixels);
}

constexpr std::int64_t kAtATime = 64;  // pictures, so that memory does not grow with their number

/// Unit vectors [B,D] float32 on the CPU of what `tower` makes of pixels.
template <class Tower>
Tensor embeds_of(const Tensor& pictures, const PictureInput& input, const nn::Compute& compute,
                 Tower tower) {
  torch::NoGradGuard no_grad;
  std::vector<Tensor> parts;
  for (const auto& part : pictures.split(kAtATime)) {
    const auto seen = tower(all_pixels(part, input).to(compute.device, compute.dtype));
    parts.push_back(seen.to(torch::kCPU, torch::kFloat32));
  }
  const auto all = torch::cat(parts);
  return all / all.norm(2, {-1}, /*keepdim=*/true);
}

/// Without its weights.
nn::CLIPModel model_of(const fs::path& config) {
  const auto json = read_json_file(config);
  try {
    return nn::CLIPModel(nn::CLIPModelImpl::from_json(json));
  } catch (const Error& error) {
    throw Error(error.kind(), fmt::format("{}: {}", config.string(), error.what()));
  }
}

}  // namespace

ClipScorer::ClipScorer(nn::CLIPModel model, text::CLIPTokenizer tokenizer, PictureInput input,
                       const nn::Compute& compute)
    : model_(std::move(model)), tokenizer_(std::move(tokenizer)), input_(input), compute_(compute) {
  model_->to(compute_.device, compute_.dtype);
}

ClipScorer ClipScorer::load(const fs::path& directory, const fs::path& tokenizer_directory,
                            const nn::Compute& compute) {
  auto model = model_of(directory / "config.json");
  io::load_into(*model, weights_in(directory), {.origin = directory.string()});
  const auto input = input_of_folder(directory, clip_input(model->vision_config().image_size));
  // Pipelines of diffusers have the tokenizer beside the model, in a folder of its own.
  const auto inside = tokenizer_directory / "tokenizer";
  auto tokenizer =
      text::CLIPTokenizer::from_directory(fs::is_directory(inside) ? inside : tokenizer_directory);
  return {std::move(model), std::move(tokenizer), input, compute};
}

ClipScorer ClipScorer::load_judge(const fs::path& base, const nn::Compute& compute) {
  if (!fs::exists(base)) {
    throw Error(ErrorKind::kIo, checkpoint::no_model_text(base) +
                                    "; or name the folder of a CLIP that looks with --clip");
  }
  const auto judge = judge_of(base);
  if (!fs::exists(judge)) {
    throw Error(ErrorKind::kIo,
                fmt::format("the base model {} brings no CLIP model that looks at pictures "
                            "(judge/); name the folder of one with --clip",
                            base.string()));
  }
  auto scorer = load(judge, judge, compute);
  scorer.input_.resampling = Resampling::kArea;  // it was trained on means of areas
  return scorer;
}

Tensor ClipScorer::image_embeds(const Tensor& pictures) {
  return embeds_of(pictures, input_, compute_,
                   [this](const Tensor& pixels) { return model_->image_embeds(pixels); });
}

Tensor ClipScorer::text_embeds(std::span<const std::string> texts) {
  torch::NoGradGuard no_grad;
  std::vector<Tensor> ids;
  for (const auto& text : texts) ids.push_back(torch::tensor(tokenizer_.encode_padded(text)));
  return model_->text_embeds(torch::stack(ids).to(compute_.device))
      .to(torch::kCPU, torch::kFloat32);
}

DinoScorer::DinoScorer(const fs::path& directory, const nn::Compute& compute)
    : model_(nn::ViTConfig::from_json(read_json_file(directory / "config.json"))),
      input_(input_of_folder(directory, dino_input(model_->config().image_size))),
      compute_(compute) {
  io::StateDict tensors;
  for (auto& [name, tensor] : weights_in(directory)) {
    // Classifiers have the transformer below a name of its own.
    tensors[name.starts_with("vit.") ? name.substr(4) : name] = tensor;
  }
  io::load_into(*model_, std::move(tensors),
                {.allow_unexpected = io::matches_any({"pooler.*", "classifier.*"}),
                 .origin = directory.string()});
  model_->to(compute_.device, compute_.dtype);
}

Tensor DinoScorer::image_embeds(const Tensor& pictures) {
  return embeds_of(pictures, input_, compute_,
                   [this](const Tensor& pixels) { return model_(pixels); });
}

AlignmentOfEach alignment_of_each(const Tensor& generated, const Tensor& references) {
  const auto cosines =
      positive_cosines(generated.to(torch::kFloat64), references.to(torch::kFloat64));
  return {cosines.mean(1), cosines.select(1, 0)};
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

Tensor text_alignment_of_each(const Tensor& generated, const Tensor& texts) {
  const auto cosines = (generated.to(torch::kFloat64) * texts.to(torch::kFloat64)).sum(-1);
  return kClipScoreFactor * cosines.clamp_min(0.0);
}

Tensor margin_of_each(const Tensor& crops, std::size_t own, std::span<const Tensor> references) {
  if (references.size() < 2) {
    throw Error(ErrorKind::kUsage, "a bleeding margin needs at least two concepts in the picture");
  }
  std::vector<Tensor> others;
  for (std::size_t i = 0; i < references.size(); ++i) {
    if (i != own) others.push_back(alignment_of_each(crops, references[i]).all_pairs);
  }
  return alignment_of_each(crops, references[own]).all_pairs - torch::stack(others).amax(0);
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
