#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "mos/study/options.h"
#include "mos/study/spec.h"
#include "mos/study/subjects.h"

/// The parts of a study: each is a file of parts/ that says which rows it compares. Nothing is made
/// here: rows are what is wished for, and what they have in common is made once.
namespace mos::study {

/// What a part may choose from.
struct Ground {
  const StudyOptions& options;  ///< Complete.
  const Prompts& prompts;
  std::vector<Subject> subjects;  ///< Of all sets.

  std::vector<const Subject*> of(Set set) const;
};

/// One concept, or a picture of several, in one row.
struct Shown {
  ModelSpec model;
  std::vector<const Subject*> subjects;  ///< One; of a picture of several one for each region.
  bool class_word = false;               ///< Class words stand in the concepts' places.
  /// Of a picture of several: whether its prompt names all, with their places where there are words
  /// for these, and there are no regions.
  bool directly = false;
  region::SamplerOptions sampler = {};
  /// Of a picture of several: changes of its scene and of its regions.
  bool isolate = false;
  double base_ratio = 0.0, region_end = 1.0;
};

struct Row {
  std::string name;
  std::string against;  ///< The name of the row that its change is told from; empty: none.
  std::vector<Shown> shown;
  std::string group;     ///< Rows between which a setting is chosen; empty: none.
  Json settings = {};    ///< What differs from the defaults, for the report.
  std::string left_out;  ///< Why it shows nothing, so that it is not missed; empty: it shows some.
};

struct Table {
  std::string title;
  std::string note;  ///< What its figures mean, and on which concepts.
  std::vector<Row> rows;
  bool of_several = false;        ///< Pictures of several concepts, measured by region.
  std::int64_t most_prompts = 0;  ///< Of each concept; 0: all of the study.
  /// Whose image alignment is told beside that of all, for comparing with a table of fewer
  /// concepts; none: nobody's.
  std::vector<const Subject*> also = {};
};

struct Part {
  const char* name;
  const char* summary;
  std::vector<Table> (*tables)(const Ground& ground);
  /// Of groups: the rows of those that were chosen, on the concepts that check it, and all of them
  /// together on those that are reported; null: none.
  std::vector<Table> (*checked)(const Ground& ground, const std::vector<std::string>& chosen);
};

std::span<const Part> parts();
/// Throws kUsage for a name that is none.
const Part& part_named(const std::string& name);

// ---- What several parts say ----

/// `subject` tuned by `method`, with the first seed.
TuneSpec tuned(const Ground& ground, const Subject& subject, const std::string& method);

/// Each of `subjects` in the model of its own tuning, once for each seed of tuning.
std::vector<Shown> alone(const Ground& ground, const std::vector<const Subject*>& subjects,
                         const std::string& method);

/// How concepts become one model.
struct Merging {
  std::string tune = "ed_lora";
  std::string merge = "gradient";
  Json options = Json::object();
};

/// Each of `subjects` in the model that all of them are merged into, once for each seed of tuning.
std::vector<Shown> merged(const Ground& ground, const std::vector<const Subject*>& subjects,
                          const Merging& merging);

/// The model of all of `subjects`, of the first seed.
ModelSpec model_of(const Ground& ground, const std::vector<const Subject*>& subjects,
                   const Merging& merging);

/// Every merge that concepts tuned by `tune` can be merged by, "gradient" first; "concat" is not
/// among them: it is "sum", stored otherwise.
std::vector<std::string> merges_for(const std::string& tune);

/// Whether a concept tuned by `tune` has words of its own, which pictures can be searched for.
bool has_own_words(const Ground& ground, const std::string& tune);

/// That those of `merges` which take factors have no others than 1, for a table's note; begins with
/// a space. Empty where none does.
std::string note_on_factors(const std::vector<std::string>& merges);

/// What distillation has seen that the study's own prompts ask for, too, for a table's note; begins
/// with a space. Empty for prompts of a file.
std::string note_on_distillation(const Ground& ground);

/// Pictures of `count` concepts, characters and objects in turn; none where there are too few.
std::vector<std::vector<const Subject*>> companies(const Ground& ground, std::size_t count);

}  // namespace mos::study
