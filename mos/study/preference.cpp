#include "mos/study/preference.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <utility>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/base/folder.h"
#include "mos/base/record.h"
#include "mos/base/version.h"
#include "mos/study/titles.h"

namespace mos::study {

namespace fs = std::filesystem;

namespace {

/// What is compared, by the names of the rows.
std::array<std::string, 2> ways_of(const StudyReport& report) {
  const auto& ours = report.options.method;
  return {row_title(ours, "weight"), row_title(ours, "gradient")};
}

const RowResult* row_of(const StudyReport& report, const std::string& name) {
  for (const auto& table : report.tables) {
    if (table.part != "table2a") continue;
    for (const auto& row : table.rows) {
      if (row.name == name) return &row;
    }
  }
  return nullptr;
}

/// Pictures of a concept in a row by their prompts, of the first tuning.
std::vector<Painting> paintings_of(const RowResult& row, const std::string& subject) {
  std::vector<Painting> paintings;
  std::set<std::string> texts;
  for (const auto& painting : row.paintings) {
    const bool is_new = painting.owners == subject && texts.insert(painting.text).second;
    if (is_new) paintings.push_back(painting);
  }
  return paintings;
}

/// The first of `count` prompts, which is of the concept alone, and others from all over the rest.
std::vector<std::size_t> asked_prompts(std::size_t count) {
  constexpr std::size_t kMost = 4;
  const auto asked = std::min(count, kMost);
  std::vector<std::size_t> prompts;
  for (std::size_t i = 0; i < asked; ++i) prompts.push_back(i * count / asked);
  return prompts;
}

/// The pair of two paintings' pictures number `i`; `own` is one of the concept's own.
Pair pair_of(const std::array<std::string, 2>& ways, const Painting& first, const Painting& second,
             std::size_t i, const torch::Tensor& own) {
  const auto ones = pictures_in(first.folder), others = pictures_in(second.folder);
  const Json named = {first.folder.filename().string(), second.folder.filename().string(), i};
  Pair pair{.id = digest_of(named), .subject = first.owners, .prompt = first.text, .own = own};
  // An even chance that is the same every time, and that nobody can read off the page.
  const bool swapped = digest_of(Json{pair.id, "sides"}).front() >= '8';
  pair.id = pair.id.substr(0, 16);
  pair.way_a = ways[swapped ? 1 : 0];
  pair.way_b = ways[swapped ? 0 : 1];
  pair.picture_a = (swapped ? others : ones).at(i);
  pair.picture_b = (swapped ? ones : others).at(i);
  return pair;
}

/// Answers of one person by pair and question: "a" or "b".
struct Export {
  std::string visit;
  Json answers;
};

Export read_export(const fs::path& path, const std::string& study) {
  const auto json = read_json_file(path);
  if (!json.is_object() || !json.contains("answers") || !json["answers"].is_object()) {
    throw Error(ErrorKind::kFormat,
                fmt::format("{} is no export of {}", path.string(), kPreferencePage));
  }
  if (json_value<std::string>(json, "study", "") != study) {
    throw Error(ErrorKind::kMismatch,
                fmt::format("{} was exported by the page of another study", path.string()));
  }
  return {json_value<std::string>(json, "visit", path.string()), json["answers"]};
}

/// What people have preferred, by question and way.
struct Answers {
  std::vector<double> shares;  ///< Of each who answered.
  std::int64_t asked = 0;
};
using Counted = std::map<std::pair<std::string, std::string>, Answers>;

/// Adds one person's answers about `pairs` of the key. Throws kFormat for what is none, naming
/// `file`.
void count_person(const Json& pairs, const Json& answers, const std::string& file, Counted& all) {
  std::map<std::pair<std::string, std::string>, std::vector<bool>> chosen;
  for (const auto& [id, of_pair] : answers.items()) {
    const auto ways = json_value<Json>(pairs, id, Json());
    if (!ways.is_object() || !of_pair.is_object()) {
      throw Error(ErrorKind::kFormat, fmt::format("{} answers no pair of this study", file));
    }
    for (const auto& [question, choice] : of_pair.items()) {
      const bool known =
          (question == "image" || question == "text") && (choice == "a" || choice == "b");
      if (!known) throw Error(ErrorKind::kFormat, file + " has an answer that is none");
      for (const char* letter : {"a", "b"}) {
        const auto way = json_required<std::string>(ways, letter);
        chosen[{question, way}].push_back(choice == letter);
      }
    }
  }
  for (const auto& [which, of_person] : chosen) {
    const auto won = std::count(of_person.begin(), of_person.end(), true);
    auto& answered = all[which];
    answered.shares.push_back(static_cast<double>(won) / static_cast<double>(of_person.size()));
    answered.asked += static_cast<std::int64_t>(of_person.size());
  }
}

/// Over people; nothing is known without any.
eval::Interval interval_of(const Answers& answers) {
  if (answers.shares.empty()) return {0.0, 0.0, 1.0};
  return eval::bootstrap(torch::tensor(answers.shares, torch::kFloat64).unsqueeze(1));
}

}  // namespace

std::vector<Pair> pairs_of(const StudyReport& report) {
  const auto ways = ways_of(report);
  const auto *first = row_of(report, ways[0]), *second = row_of(report, ways[1]);
  if (first == nullptr || second == nullptr) return {};
  std::vector<Pair> pairs;
  for (const auto& [name, image] : first->of_subject) {
    const auto ones = paintings_of(*first, name), others = paintings_of(*second, name);
    const auto prompts = asked_prompts(std::min(ones.size(), others.size()));
    const auto own = own_pictures(subject_named(report.subjects, name)).front();
    // Where there are few prompts, two pictures of each.
    const std::size_t of_each = prompts.size() > 2 ? 1 : 2;
    for (std::size_t p = 0; p < prompts.size(); ++p) {
      const auto &one = ones[prompts[p]], &other = others[prompts[p]];
      const auto count = std::min(pictures_in(one.folder).size(), pictures_in(other.folder).size());
      for (std::size_t i = 0; i < std::min(of_each, count); ++i) {
        pairs.push_back(pair_of(ways, one, other, (p * of_each + i) % count, own));
      }
    }
  }
  return pairs;
}

void write_preference(const fs::path& out, const StudyReport& report) {
  const auto pairs = pairs_of(report);
  if (pairs.empty()) return;
  const auto page = preference_page(pairs);
  Json key = {{kProgramKey, version()},
              {"study", page.digest},
              {"ways", ways_of(report)},
              {"pairs", Json::object()}};
  for (const auto& pair : pairs) {
    key["pairs"][pair.id] = {{"concept", pair.subject}, {"a", pair.way_a}, {"b", pair.way_b}};
  }
  write_text_file(out / kPreferencePage, page.text);
  write_text_file(out / kPreferenceKey, json_text(key, 2) + "\n");
}

PreferenceResult count_answers(const fs::path& out, const std::vector<std::string>& files) {
  const auto key = read_json_file(out / kPreferenceKey);
  const auto study = json_required<std::string>(key, "study");
  const auto pairs = json_required<Json>(key, "pairs");
  Counted counted;
  std::set<std::string> people;
  for (const auto& file : files) {
    const auto [visit, answers] = read_export(file, study);
    if (people.insert(visit).second) count_person(pairs, answers, file, counted);
  }
  PreferenceResult result{.people = static_cast<std::int64_t>(people.size())};
  for (const auto& way : json_required<std::vector<std::string>>(key, "ways")) {
    const auto &image = counted[{"image", way}], &text = counted[{"text", way}];
    result.ways.push_back({way, interval_of(image), interval_of(text), image.asked, text.asked});
  }
  return result;
}

std::string preference_text(const PreferenceResult& result) {
  const auto percent = [&](const eval::Interval& share, std::int64_t answers) {
    if (answers == 0) return std::string("no answers");
    const auto mean = fmt::format("{:.1f} %", 100 * share.mean);
    return result.people < 2
               ? mean
               : fmt::format("{} [{:.1f}, {:.1f}]", mean, 100 * share.low, 100 * share.high);
  };
  auto text = fmt::format(
      "| preferred by {} people | image alignment | text alignment |\n"
      "|---|---|---|\n",
      result.people);
  for (const auto& one : result.ways) {
    text += fmt::format("| {} | {} | {} |\n", one.way, percent(one.image, one.image_answers),
                        percent(one.text, one.text_answers));
  }
  if (result.people == 1) text += "\nOne person: there is no interval over people.\n";
  return text;
}

}  // namespace mos::study
