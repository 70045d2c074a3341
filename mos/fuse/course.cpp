#include "mos/fuse/course.h"

#include <map>
#include <span>
#include <utility>

#include "mos/concepts/tokens.h"

namespace mos::fuse {

using torch::Tensor;

LessonCalls LessonCalls::narrow(std::int64_t from, std::int64_t count) const {
  const auto part = [&](const Tensor& all) { return all.narrow(0, from, count); };
  return {.noisy = part(noisy),
          .timestep = part(timestep),
          .said = part(said),
          .text = text.narrow(from, count),
          .prompts = {prompts.begin() + from, prompts.begin() + from + count},
          .weight = part(weight)};
}

LessonCalls cat(const std::vector<LessonCalls>& parts) {
  const auto joined = [&](Tensor LessonCalls::*member) {
    std::vector<Tensor> list;
    for (const auto& part : parts) list.push_back(part.*member);
    return torch::cat(list);
  };
  std::vector<nn::Conditioning> texts;
  std::vector<std::size_t> prompts;
  for (const auto& part : parts) {
    texts.push_back(part.text);
    prompts.insert(prompts.end(), part.prompts.begin(), part.prompts.end());
  }
  return {.noisy = joined(&LessonCalls::noisy),
          .timestep = joined(&LessonCalls::timestep),
          .said = joined(&LessonCalls::said),
          .text = nn::cat(texts),
          .prompts = std::move(prompts),
          .weight = joined(&LessonCalls::weight)};
}

LessonTexts::LessonTexts(const DistillInputs& inputs, TaughtWords* words)
    : inputs_(inputs), words_(words) {}

std::size_t LessonTexts::add(const std::string& prompt) {
  prompts_.push_back(
      {.prompt = prompt, .is_taught = words_ != nullptr && words_->occur_in(prompt), .text = {}});
  return prompts_.size() - 1;
}

nn::Conditioning LessonTexts::encoded(const std::string& prompt) {
  if (words_ != nullptr) words_->put();
  return concepts::encode_prompts(inputs_.tokens, inputs_.model.towers, std::span(&prompt, 1));
}

nn::Conditioning LessonTexts::of(std::size_t number) {
  auto& [prompt, is_taught, text] = prompts_[number];
  if (!text.defined()) {
    const torch::NoGradGuard no_grad;
    text = encoded(prompt).to(
        torch::TensorOptions().dtype(inputs_.dtype).device(inputs_.model.device()));
  }
  return text;
}

void LessonTexts::forget() {
  for (auto& prompt : prompts_) {
    if (prompt.is_taught) prompt.text = {};
  }
}

namespace {

/// A scalar whose gradient in `text` [1,…] is the sum of that of the calls at `places`.
Tensor product(const Tensor& text, const Tensor& gradient,
               const std::vector<std::int64_t>& places) {
  const auto index = torch::tensor(places, torch::kInt64).to(gradient.device());
  auto sum = gradient.index_select(0, index).to(torch::kFloat32).sum(0, /*keepdim=*/true);
  // One text that every layer reads hears of all of them.
  if (sum.dim() > text.dim()) sum = sum.sum(1);
  return (text.to(torch::kFloat32) * sum.to(text.device())).sum();
}

}  // namespace

void LessonTexts::pass_back(const LessonCalls& calls) {
  std::map<std::size_t, std::vector<std::int64_t>> places;
  for (std::size_t i = 0; i < calls.prompts.size(); ++i) {
    places[calls.prompts[i]].push_back(static_cast<std::int64_t>(i));
  }
  for (const auto& [number, at] : places) {
    if (!prompts_[number].is_taught) continue;
    const auto text = encoded(prompts_[number].prompt);
    auto sum = product(text.context, calls.text.context.grad(), at);
    if (text.pooled.defined() && calls.text.pooled.grad().defined()) {
      sum = sum + product(text.pooled, calls.text.pooled.grad(), at);
    }
    sum.backward();
  }
}

Course::Course(const DistillInputs& inputs, std::size_t concept_number, LessonTexts& texts)
    : number_(concept_number),
      weight_(inputs.weights[concept_number]),
      options_(torch::TensorOptions().dtype(inputs.dtype).device(inputs.model.device())),
      lessons_(inputs.lessons[concept_number]),
      texts_(texts),
      taught_(lessons_.held_aside.logical_not().nonzero().squeeze(1)),
      aside_(lessons_.held_aside.nonzero().squeeze(1)) {
  for (const auto& prompt : lessons_.prompts) prompts_.push_back(texts.add(prompt));
}

LessonCalls Course::drawn(std::int64_t count, double weight, at::Generator& generator) const {
  return calls(taught_.index_select(
                   0, torch::randint(0, taught_.size(0), {count}, generator, torch::kInt64)),
               weight);
}

LessonCalls Course::aside(std::int64_t from, std::int64_t count) const {
  return calls(aside_.narrow(0, from, count), 1.0 / static_cast<double>(aside_count()));
}

LessonCalls Course::calls(const Tensor& numbers, double weight) const {
  const auto of_calls = [&](const Tensor& all) { return all.index_select(0, numbers); };
  std::vector<nn::Conditioning> texts;
  std::vector<std::size_t> prompts;
  const auto of_lessons = of_calls(lessons_.prompt);
  for (std::int64_t i = 0; i < of_lessons.size(0); ++i) {
    prompts.push_back(prompts_[static_cast<std::size_t>(of_lessons[i].item<std::int64_t>())]);
    texts.push_back(texts_.of(prompts.back()));
  }
  return {.noisy = of_calls(lessons_.noisy).to(options_),
          .timestep = of_calls(lessons_.timestep).to(options_.device()),
          .said = of_calls(lessons_.said).to(options_.device()),
          .text = nn::cat(texts),
          .prompts = std::move(prompts),
          .weight = torch::full({numbers.size(0)}, weight, options_.dtype(torch::kFloat64))};
}

}  // namespace mos::fuse
