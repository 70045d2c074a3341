#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mos/concepts/prompt_encoder.h"
#include "mos/region/guide.h"
#include "mos/region/sample.h"

/// Which words of which prompts the subjects of a picture are.
namespace mos::region {

/// Words of a prompt and where they stand in its context.
struct Words {
  std::string name;
  std::vector<std::int64_t> columns;
};

/// Reads prompts for subjects.
class SubjectReader {
 public:
  SubjectReader(const diffusion::Model& model, const concepts::ConceptTokens& tokens,
                const SamplerOptions& options);

  /// `names` in `prompt`; without names every run of concept words there.
  /// Throws kUsage for a name that does not stand in it.
  std::vector<Words> subjects_in(const std::string& prompt,
                                 const std::vector<std::string>& names) const;

  /// The places of `phrase` in `prompt`; empty where it does not stand there.
  std::vector<std::int64_t> find(const std::string& prompt, const std::string& phrase) const;

 private:
  /// The concept word that a token is of, or null.
  const concepts::BoundWord* word_of(std::int64_t id) const;
  std::vector<std::int64_t> context_of(const std::string& prompt) const;

  const text::CLIPTokenizer& tokenizer_;
  const concepts::ConceptTokens& tokens_;
  concepts::PromptOptions options_;
};

/// The subject of each region: its `subject`, or the concept words of its prompt, all together.
/// `scene` has its root prompts before its prompts. That of a background without one is empty:
/// it is what is left. Throws kUsage for another region that has neither.
std::vector<Words> region_subjects(const SubjectReader& reader, const Scene& scene);

/// Throws kUsage naming a region whose `subject` stands neither in its prompt nor in the context's,
/// where it means nothing.
void check_subjects(const SubjectReader& reader, const Scene& scene);

/// What a region that reads the context's prompt shall not read of it: for each region the columns
/// of the other regions' subjects there; none where a region has a prompt of its own.
std::vector<std::vector<std::int64_t>> hidden_words(const SubjectReader& reader,
                                                    const Scene& scene);

/// The subjects that guides of `scene` see to, in the texts context, region 1, region 2 …: those of
/// its regions, or without regions those of the prompt, as `sampler.subjects` names them.
/// Throws kUsage where there are none.
std::vector<Subject> guided_subjects(const SubjectReader& reader, const Scene& scene,
                                     const SampleOptions& options, Canvas canvas);

}  // namespace mos::region
