#include "mos/fuse/lessons.h"

#include <cstddef>
#include <cstdint>

namespace mos::fuse {

using torch::Tensor;

namespace {

/// Calls as they come, which become the tensors of Lessons.
struct Heard {
  std::vector<Tensor> prompt, noisy, timestep, said, held_aside;

  /// `is_aside` [n] is of the n pictures of the call.
  void add(std::int64_t number, const Tensor& is_aside, const diffusion::NetworkCall& call,
           const Tensor& answer) {
    const auto pictures = is_aside.size(0);
    const auto own = [&](const Tensor& both) {  // the prompt's half comes last
      return both.slice(0, both.size(0) - pictures).to(torch::kCPU, torch::kFloat32).clone();
    };
    prompt.push_back(torch::full({pictures}, number, torch::kInt64));
    noisy.push_back(own(call.input));
    timestep.push_back(call.timestep.cpu().expand({pictures}));
    said.push_back(own(answer));
    held_aside.push_back(is_aside);
  }
};

}  // namespace

std::int64_t LessonPlan::steps() const {
  std::int64_t parts = 0;
  for (const auto& pictures : noise) {
    parts += static_cast<std::int64_t>(pictures.split(run.at_once).size());
  }
  return parts * run.steps;
}

Lessons collect_lessons(const diffusion::Model& model, const concepts::ConceptTokens& tokens,
                        const LessonPlan& plan, const SamplingHooks& hooks) {
  Heard heard;
  std::int64_t done = 0;
  for (std::size_t number = 0; number < plan.prompts.size(); ++number) {
    auto run = plan.run;
    run.prompt = plan.prompts[number];
    run.noise = plan.noise[number];
    const auto pictures = run.noise.size(0);
    const auto aside =
        (torch::arange(pictures) == (pictures > 1 ? pictures - 1 : -1)).split(run.at_once);
    std::size_t parts = 0;  // that were begun
    auto listening = hooks;
    listening.predict = [&](const diffusion::NetworkCall& call, const diffusion::Network& network) {
      if (call.index == 0) ++parts;
      auto answer = network(call);
      heard.add(static_cast<std::int64_t>(number), aside[parts - 1], call, answer);
      return answer;
    };
    listening.after_step = [&](std::int64_t) {
      if (hooks.after_step) hooks.after_step(++done);
    };
    sample_latents(model, tokens, run, listening);
  }
  return {.prompts = plan.prompts,
          .prompt = torch::cat(heard.prompt),
          .noisy = torch::cat(heard.noisy),
          .timestep = torch::cat(heard.timestep),
          .said = torch::cat(heard.said),
          .held_aside = torch::cat(heard.held_aside)};
}

}  // namespace mos::fuse
