#pragma once

#include <torch/types.h>

#include <array>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "mos/base/choice.h"
#include "mos/tune/dataset.h"

/// The concepts of a study, and the prompts that they are painted with.
namespace mos::study {

enum class Set { kReport, kChoose, kCheck };
constexpr auto choice_names(Set) {
  return std::to_array<Named<Set>>(
      {{"report", Set::kReport}, {"choose", Set::kChoose}, {"check", Set::kCheck}});
}

/// A concept by its folder.
struct Subject {
  std::string name;
  std::filesystem::path folder;
  Set set = Set::kReport;
  std::string category;  ///< "character", "object" or "scene".
  std::string style;     ///< Of its artwork; empty: unknown.
  std::string class_word;
  std::vector<std::string> words;
  std::string digest;  ///< Of all its files: another picture is another concept.

  std::string phrase() const;  ///< The words as they stand in a prompt.
  bool is_scene() const { return category == "scene"; }
};

/// Throws kUsage where there is none of this name.
const Subject& subject_named(const std::vector<Subject>& subjects, const std::string& name);

/// The concepts in `folders`, each of which is one or holds some, in the order of their names (a
/// drawn study's in its own). Throws kUsage for a folder without any and for concepts that lack
/// words or a class word, kFormat as tune::load_dataset does.
std::vector<Subject> load_subjects(const std::vector<std::string>& folders, Set set);

/// Throws kUsage where two have one name, one word, or the same pictures: sets must be disjoint.
void check_disjoint(const std::vector<Subject>& subjects);

/// Prompts by category; <TOK> stands for the concept.
using Prompts = std::map<std::string, std::vector<std::string>>;

/// Twenty of each.
Prompts own_prompts();

/// A text file with a prompt in each line, for concepts of all categories, or JSON of lists by
/// category. Throws kUsage for prompts without <TOK> and for an unknown category, kIo, kFormat.
Prompts read_prompts(const std::filesystem::path& path);

/// `prompt` with `text` in the place of <TOK>.
std::string filled(const std::string& prompt, const std::string& text);

/// uint8 pictures of the concept's folder.
std::vector<torch::Tensor> own_pictures(const Subject& subject);

}  // namespace mos::study
