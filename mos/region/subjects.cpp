#include "mos/region/subjects.h"

#include <fmt/core.h>

#include <algorithm>

#include "mos/base/error.h"
#include "mos/base/naming.h"
#include "mos/base/text.h"
#include "mos/region/region_mask.h"

namespace mos::region {

SubjectReader::SubjectReader(const diffusion::Model& model, const concepts::ConceptTokens& tokens,
                             const SamplerOptions& options)
    : tokenizer_(model.tokenizer()), tokens_(tokens), options_(prompt_options(options)) {}

std::vector<std::int64_t> SubjectReader::context_of(const std::string& prompt) const {
  return concepts::tokens_in_context(tokens_, tokenizer_, prompt, options_);
}

std::vector<std::int64_t> SubjectReader::find(const std::string& prompt,
                                              const std::string& phrase) const {
  return concepts::columns_of(tokens_, tokenizer_, context_of(prompt), phrase);
}

std::vector<Words> SubjectReader::subjects_in(const std::string& prompt,
                                              const std::vector<std::string>& names) const {
  std::vector<Words> subjects;
  const auto context = context_of(prompt);
  for (const auto& name : names) {
    auto columns = concepts::columns_of(tokens_, tokenizer_, context, name);
    if (columns.empty()) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("the subject \"{}\" does not stand in the prompt \"{}\": write it as "
                              "it stands there",
                              name, prompt));
    }
    subjects.push_back({name, std::move(columns)});
  }
  if (!names.empty()) return subjects;
  const concepts::BoundWord* before = nullptr;
  for (std::size_t i = 0; i < context.size(); ++i) {
    const auto* word = word_of(context[i]);
    if (word != nullptr && before == nullptr) {
      subjects.push_back({word->word, {}});
    } else if (word != nullptr && word != before) {
      subjects.back().name += " " + word->word;
    }
    if (word != nullptr) subjects.back().columns.push_back(static_cast<std::int64_t>(i));
    before = word;
  }
  return subjects;
}

const concepts::BoundWord* SubjectReader::word_of(std::int64_t id) const {
  for (const auto& word : tokens_.words()) {
    if (id >= word.first_id && id < word.first_id + word.rows) return &word;
  }
  return nullptr;
}

std::vector<Words> region_subjects(const SubjectReader& reader, const Scene& scene) {
  std::vector<Words> all;
  for (std::size_t i = 0; i < scene.regions.size(); ++i) {
    const auto& region = scene.regions[i];
    std::vector<std::string> names;
    if (!region.subject.empty()) names.push_back(region.subject);
    const auto found = reader.subjects_in(region.prompt, names);
    if (found.empty() && region.background) {
      all.emplace_back();
      continue;
    }
    if (found.empty()) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("region {} \"{}\" calls no concept, so it is not known which of its "
                              "words is its subject: name it with \"subject\"",
                              i + 1, region.prompt));
    }
    Words together{found.front().name, {}};
    for (const auto& words : found) {
      together.columns.insert(together.columns.end(), words.columns.begin(), words.columns.end());
    }
    all.push_back(std::move(together));
  }
  return all;
}

void check_subjects(const SubjectReader& reader, const Scene& scene) {
  const auto whole = with_root_prompts(scene);
  for (std::size_t i = 0; i < whole.regions.size(); ++i) {
    const auto& region = whole.regions[i];
    if (region.subject.empty() || !reader.find(whole.prompt, region.subject).empty()) continue;
    naming(fmt::format("region {}", i + 1),
           [&] { reader.subjects_in(region.prompt, {region.subject}); });
  }
}

std::vector<std::vector<std::int64_t>> hidden_words(const SubjectReader& reader,
                                                    const Scene& scene) {
  std::vector<std::vector<std::int64_t>> hidden(scene.regions.size());
  const auto prompt = with_root_prompts(scene).prompt;
  for (std::size_t i = 0; i < scene.regions.size(); ++i) {
    if (!trimmed(scene.regions[i].prompt).empty()) continue;
    const auto own = reader.find(prompt, scene.regions[i].subject);
    for (std::size_t j = 0; j < scene.regions.size(); ++j) {
      if (j == i || scene.regions[j].subject.empty()) continue;
      for (const auto column : reader.find(prompt, scene.regions[j].subject)) {
        const bool is_own = std::find(own.begin(), own.end(), column) != own.end();
        if (!is_own) hidden[i].push_back(column);
      }
    }
  }
  return hidden;
}

std::vector<Subject> guided_subjects(const SubjectReader& reader, const Scene& scene,
                                     const SampleOptions& options, Canvas canvas) {
  std::vector<Subject> subjects;
  const auto& info = guide_info(options.sampler.guide);
  const auto whole = with_root_prompts(scene);
  const auto& named = options.sampler.subjects;
  for (const auto& name : named) {
    if (scene.regions.empty() || !reader.find(whole.prompt, name).empty()) continue;
    throw Error(ErrorKind::kUsage,
                fmt::format("--subjects are of the prompt \"{}\", and \"{}\" does not stand there: "
                            "that of a region is its \"subject\" in the scene",
                            whole.prompt, name));
  }
  if (scene.regions.empty() || !named.empty()) {
    for (auto& words : reader.subjects_in(whole.prompt, named)) {
      subjects.push_back({std::move(words.name), 0, std::move(words.columns), {}});
    }
  }
  if (info.needs_regions && (scene.regions.empty() || !subjects.empty())) {
    throw Error(ErrorKind::kUsage,
                fmt::format("{} is told where subjects are: give each a region with its \"box\" "
                            "and \"subject\" in a scene file",
                            info.title));
  }
  if (!scene.regions.empty()) {
    const auto shapes = region_shapes(scene, canvas);
    const auto words = region_subjects(reader, whole);
    const auto hidden = hidden_words(reader, scene);
    for (std::size_t i = 0; i < words.size(); ++i) {
      if (words[i].columns.empty()) continue;
      subjects.push_back({words[i].name, i + 1, words[i].columns, shapes[i], hidden[i]});
    }
  }
  if (subjects.empty()) {
    throw Error(ErrorKind::kUsage,
                fmt::format("{} sees to the subjects of a prompt, but \"{}\" calls no concept: "
                            "name its subjects with --subjects",
                            info.title, scene.prompt));
  }
  return subjects;
}

}  // namespace mos::region
