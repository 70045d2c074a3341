#pragma once

#include <torch/types.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "mos/eval/statistics.h"
#include "mos/study/study.h"

/// What people prefer (the paper's Table 2b, c): a page that shows pairs of pictures without saying
/// how they were made, and the count of what it exports.
namespace mos::study {

inline constexpr const char* kPreferencePage = "preference.html";
inline constexpr const char* kPreferenceKey = "preference.json";

/// Two pictures of one prompt and seed, made in two ways. Which of them is A is drawn.
struct Pair {
  std::string id;       ///< Says nothing of the ways.
  std::string subject;  ///< Whose own picture stands beside them.
  std::string prompt;   ///< In plain words.
  std::string way_a, way_b;
  std::filesystem::path picture_a, picture_b;
  torch::Tensor own;  ///< uint8 [H,W,3]
};

/// Pictures of each concept in the rows of weight and of gradient fusion of Table 2a, of the first
/// tuning: of several prompts, the first one and others spread over the rest, each from seeds of
/// its own. None where the study has not both rows. The same for the same study.
std::vector<Pair> pairs_of(const StudyReport& report);

struct PreferencePage {
  std::string text;
  std::string digest;  ///< Of what it shows; exports name it.
};

/// The page: pairs in an order, and with sides, that each visit draws; answers stay in the browser
/// until they are exported as JSON. It holds no names of ways and asks no network for anything.
PreferencePage preference_page(const std::vector<Pair>& pairs);

/// The page and, apart from it, the key that says which way each picture is. Nothing is written
/// where there are no pairs.
void write_preference(const std::filesystem::path& out, const StudyReport& report);

/// How often each way was preferred.
struct Preference {
  std::string way;
  /// Means over people of the share of each one's answers, to each question. The intervals are of
  /// people drawn with replacement: answers of one person hang together. Of one they have no width.
  eval::Interval image, text;
  std::int64_t image_answers = 0, text_answers = 0;
};

struct PreferenceResult {
  std::int64_t people = 0;  ///< Exports that were counted.
  std::vector<Preference> ways;
};

/// Counts exports of the page of the study in `out`. An export that is there twice counts once.
/// Throws kIo, kFormat for files that are none, kMismatch for those of another study.
PreferenceResult count_answers(const std::filesystem::path& out,
                               const std::vector<std::string>& files);

/// The paper's table, as Markdown.
std::string preference_text(const PreferenceResult& result);

}  // namespace mos::study
