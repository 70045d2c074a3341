#include "mos/study/titles.h"

#include <algorithm>
#include <array>
#include <span>

namespace mos::study {
namespace {

struct Title {
  const char* name;
  const char* title;
};

constexpr auto kTunings = std::to_array<Title>({
    {"ed_lora", "ED-LoRA"},
    {"ed_lora_paper", "ED-LoRA of the paper's tables"},
    {"lora", "LoRA"},
    {"p_plus", "P+"},
    {"textual_inversion", "Textual Inversion"},
    {"custom_diffusion", "Custom Diffusion"},
    {"dreambooth", "DreamBooth"},
    {"svdiff", "SVDiff"},
    {"cones", "Cones"},
    {"orthogonal_adaptation", "Orthogonal Adaptation"},
});

constexpr auto kMerges = std::to_array<Title>({
    {"gradient", "gradient fusion"},
    {"weight", "weight fusion"},
    {"custom_diffusion", "constrained merge"},
    {"distill", "distilled"},
});

std::string title_in(std::span<const Title> titles, const std::string& name) {
  const auto found = std::find_if(titles.begin(), titles.end(),
                                  [&](const Title& title) { return title.name == name; });
  return found == titles.end() ? name : found->title;
}

}  // namespace

std::string title_of_tuning(const std::string& method) { return title_in(kTunings, method); }

std::string title_of_merge(const std::string& method) { return title_in(kMerges, method); }

std::string row_title(const std::string& tuning, const std::string& merge) {
  return title_of_tuning(tuning) + ", " + (merge.empty() ? "alone" : title_of_merge(merge));
}

}  // namespace mos::study
