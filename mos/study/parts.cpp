#include "mos/study/parts.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "mos/base/error.h"
#include "mos/base/text_distance.h"
#include "mos/fuse/method.h"
#include "mos/study/plan.h"
#include "mos/study/titles.h"

namespace mos::study {

// Each in a file of parts/.
std::vector<Table> figure3(const Ground& ground);
std::vector<Table> table1(const Ground& ground);
std::vector<Table> table2a(const Ground& ground);
std::vector<Table> curve(const Ground& ground);
std::vector<Table> settings(const Ground& ground);
std::vector<Table> settings_checked(const Ground& ground, const std::vector<std::string>& chosen);
std::vector<Table> regions(const Ground& ground);

namespace {

constexpr auto kParts = std::to_array<Part>({
    {"figure3", "where identity sits: the words alone, and with what the weights learned", figure3,
     nullptr},
    {"table1", "each way of tuning alone and merged as its authors merge it", table1, nullptr},
    {"table2a", "tuning and merging by themselves, then every merge there is", table2a, nullptr},
    {"curve", "how much of each is left in a model of 1, 2, 3, 5, 9 and 12 concepts", curve,
     nullptr},
    {"settings", "what decides quality: chosen on some concepts, checked on others", settings,
     settings_checked},
    {"regions", "pictures of 2, 3 and 5 concepts, by every way to keep them apart", regions,
     nullptr},
});

constexpr const char* kBestMerge = "gradient";
constexpr const char* kSumAgain = "concat";

}  // namespace

std::span<const Part> parts() { return kParts; }

std::vector<std::string> part_names() {
  std::vector<std::string> names;
  for (const auto& part : kParts) names.emplace_back(part.name);
  return names;
}

const Part& part_named(const std::string& name) {
  for (const auto& part : kParts) {
    if (part.name == name) return part;
  }
  const auto names = part_names();
  throw Error(ErrorKind::kUsage, fmt::format("a study has no part \"{}\", expected {}{}", name,
                                             fmt::join(names, ", "), did_you_mean(name, names)));
}

std::vector<const Subject*> Ground::of(Set set) const {
  std::vector<const Subject*> found;
  for (const auto& subject : subjects) {
    if (subject.set == set) found.push_back(&subject);
  }
  return found;
}

TuneSpec tuned(const Ground& ground, const Subject& subject, const std::string& method) {
  return {.concept_name = subject.name, .method = method, .seed = ground.options.seed};
}

std::vector<Shown> alone(const Ground& ground, const std::vector<const Subject*>& subjects,
                         const std::string& method) {
  std::vector<Shown> shown;
  for (std::int64_t s = 0; s < ground.options.tune_seeds; ++s) {
    for (const auto* subject : subjects) {
      auto spec = tuned(ground, *subject, method);
      spec.seed += static_cast<std::uint64_t>(s);
      shown.push_back({.model = {.concepts = {spec}}, .subjects = {subject}});
    }
  }
  return shown;
}

ModelSpec model_of(const Ground& ground, const std::vector<const Subject*>& subjects,
                   const Merging& merging) {
  ModelSpec model{.merge = merging.merge, .merge_options = merging.options};
  for (const auto* subject : subjects) {
    model.concepts.push_back(tuned(ground, *subject, merging.tune));
  }
  return model;
}

std::vector<Shown> merged(const Ground& ground, const std::vector<const Subject*>& subjects,
                          const Merging& merging) {
  std::vector<Shown> shown;
  for (std::int64_t s = 0; s < ground.options.tune_seeds; ++s) {
    auto model = model_of(ground, subjects, merging);
    for (auto& one : model.concepts) one.seed += static_cast<std::uint64_t>(s);
    for (const auto* subject : subjects) shown.push_back({.model = model, .subjects = {subject}});
  }
  return shown;
}

std::vector<std::string> merges_for(const std::string& tune) {
  std::vector<std::string> names = {kBestMerge};
  const bool low_rank =
      tune != "dreambooth" && tune != "custom_diffusion" && tune != "svdiff" && tune != "cones";
  for (const auto& info : fuse::methods()) {
    const bool fits = low_rank || info.forms == fuse::Forms::kAny;
    const bool is_new = info.name != kBestMerge && info.name != kSumAgain;
    if (is_new && fits) names.emplace_back(info.name);
  }
  return names;
}

bool has_own_words(const Ground& ground, const std::string& tune) {
  return options_of({.method = tune}, ground.options).words.rows != tune::WordRows::kNone;
}

std::string note_on_factors(const std::vector<std::string>& merges) {
  std::vector<std::string> titles;
  for (const auto& merge : merges) {
    const bool has_factors = fuse::method_info(merge).weighting == fuse::Weighting::kFactors;
    if (has_factors) titles.push_back(title_of_merge(merge));
  }
  if (titles.empty()) return "";
  return fmt::format(
      " With factor 1 on every concept, however many there are, and no other one tried: {}.",
      fmt::join(titles, ", "));
}

std::string note_on_distillation(const Ground& ground) {
  if (!ground.options.prompts.empty()) return "";
  return " Distillation learns from pictures with a cat, a car or a man beside each concept, which "
         "some prompts of scenes ask for, too: of those it has seen the like.";
}

std::vector<std::vector<const Subject*>> companies(const Ground& ground, std::size_t count) {
  auto all = ground.of(Set::kReport);
  std::erase_if(all, [](const Subject* subject) { return subject->is_scene(); });
  std::vector<std::vector<const Subject*>> found;
  // As many as there are groups without a concept in two of them: each concept counts once.
  for (std::size_t first = 0; first + count <= all.size(); first += count) {
    found.emplace_back(all.begin() + static_cast<std::ptrdiff_t>(first),
                       all.begin() + static_cast<std::ptrdiff_t>(first + count));
  }
  return found;
}

}  // namespace mos::study
