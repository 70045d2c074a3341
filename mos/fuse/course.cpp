#include "mos/fuse/course.h"

#include <span>

#include "mos/concepts/tokens.h"

namespace mos::fuse {

using torch::Tensor;

LessonCalls LessonCalls::narrow(std::int64_t from, std::int64_t count) const {
  const auto part = [&](const Tensor& all) { return all.narrow(0, from, count); };
  return {.noisy = part(noisy),
          .timestep = part(timestep),
          .said = part(said),
          .text = text.narrow(from, count),
          .weight = part(weight)};
}

LessonCalls cat(const std::vector<LessonCalls>& parts) {
  const auto joined = [&](Tensor LessonCalls::*member) {
    std::vector<Tensor> list;
    for (const auto& part : parts) list.push_back(part.*member);
    return torch::cat(list);
  };
  std::vector<nn::Conditioning> texts;
  for (const auto& part : parts) texts.push_back(part.text);
  return {.noisy = joined(&LessonCalls::noisy),
          .timestep = joined(&LessonCalls::timestep),
          .said = joined(&LessonCalls::said),
          .text = nn::cat(texts),
          .weight = joined(&LessonCalls::weight)};
}

Course::Course(const DistillInputs& inputs, std::size_t concept_number)
    : number_(concept_number),
      weight_(inputs.weights[concept_number]),
      options_(torch::TensorOptions().dtype(inputs.dtype).device(inputs.model.device())),
      lessons_(inputs.lessons[concept_number]),
      taught_(lessons_.held_aside.logical_not().nonzero().squeeze(1)),
      aside_(lessons_.held_aside.nonzero().squeeze(1)) {
  for (const auto& prompt : lessons_.prompts) {
    texts_.push_back(
        concepts::encode_prompts(inputs.tokens, inputs.model.towers, std::span(&prompt, 1))
            .to(options_));
  }
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
  const auto prompts = of_calls(lessons_.prompt);
  for (std::int64_t i = 0; i < prompts.size(0); ++i) {
    texts.push_back(texts_[static_cast<std::size_t>(prompts[i].item<std::int64_t>())]);
  }
  return {.noisy = of_calls(lessons_.noisy).to(options_),
          .timestep = of_calls(lessons_.timestep).to(options_.device()),
          .said = of_calls(lessons_.said).to(options_.device()),
          .text = nn::cat(texts),
          .weight = torch::full({numbers.size(0)}, weight, options_.dtype(torch::kFloat64))};
}

}  // namespace mos::fuse
