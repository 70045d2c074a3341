#include "mos/study/preference.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <set>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/base/folder.h"
#include "mos/base/record.h"
#include "mos/base/version.h"
#include "mos/jobs/eyes.h"

namespace mos::study {

namespace fs = std::filesystem;

namespace {

constexpr std::array kWays = {"ED-LoRA, weight fusion", "ED-LoRA, gradient fusion"};

const RowResult* row_of(const StudyReport& report, const std::string& name) {
  for (const auto& table : report.tables) {
    if (table.part != "table2a") continue;
    for (const auto& row : table.rows) {
      if (row.name == name) return &row;
    }
  }
  return nullptr;
}

/// The pair of two paintings' pictures number `i`.
Pair pair_of(const Subject& subject, const fs::path& first, const fs::path& second, std::size_t i) {
  const auto ones = pictures_in(first), others = pictures_in(second);
  Pair pair{.id = digest_of(Json{first.filename().string(), second.filename().string(), i}),
            .subject = subject.name};
  // An even chance that is the same every time, and that nobody can read off the page.
  const bool swapped = digest_of(Json{pair.id, "sides"}).front() >= '8';
  pair.id = pair.id.substr(0, 16);
  pair.way_a = kWays[swapped ? 1 : 0];
  pair.way_b = kWays[swapped ? 0 : 1];
  pair.picture_a = (swapped ? others : ones).at(i);
  pair.picture_b = (swapped ? ones : others).at(i);
  pair.own = jobs::pictures_of(subject.folder).front();
  const auto told = jobs::told_by(pair.picture_a);
  auto prompt = told ? told->scene.prompt : "";
  for (std::size_t w = 0; w < subject.words.size(); ++w) {
    const auto at = prompt.find(subject.words[w]);
    if (at == std::string::npos) continue;
    const bool last = w + 1 == subject.words.size();
    prompt.replace(at, subject.words[w].size() + (last ? 0 : 1), last ? subject.class_word : "");
  }
  pair.prompt = prompt;
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

struct Tally {
  std::int64_t won = 0, asked = 0;
};

}  // namespace

std::vector<Pair> pairs_of(const StudyReport& report) {
  const auto* first = row_of(report, kWays[0]);
  const auto* second = row_of(report, kWays[1]);
  if (first == nullptr || second == nullptr) return {};
  std::vector<Pair> pairs;
  for (const auto& [name, folder] : first->paintings) {
    const auto other = std::find_if(second->paintings.begin(), second->paintings.end(),
                                    [&](const auto& entry) { return entry.first == name; });
    const bool is_there = std::any_of(pairs.begin(), pairs.end(), [&](const Pair& pair) {
      return pair.subject == name;  // of several tunings the first
    });
    if (other == second->paintings.end() || is_there) continue;
    const auto count = std::min(pictures_in(folder).size(), pictures_in(other->second).size());
    constexpr std::size_t kMostOfOne = 4;
    for (std::size_t i = 0; i < std::min(count, kMostOfOne); ++i) {
      pairs.push_back(pair_of(subject_named(report.subjects, name), folder, other->second, i));
    }
  }
  return pairs;
}

void write_preference(const fs::path& out, const StudyReport& report) {
  const auto pairs = pairs_of(report);
  if (pairs.empty()) return;
  const auto page = preference_page(pairs);
  Json key = {{kProgramKey, version()}, {"study", page.digest}, {"pairs", Json::object()}};
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
  std::map<std::string, std::map<std::string, Tally>> tallies;  // by question, then by way
  std::set<std::string> people;
  for (const auto& file : files) {
    const auto [visit, answers] = read_export(file, study);
    if (!people.insert(visit).second) continue;
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
          auto& tally = tallies[question][json_required<std::string>(ways, letter)];
          ++tally.asked;
          if (choice == letter) ++tally.won;
        }
      }
    }
  }
  PreferenceResult result{.people = static_cast<std::int64_t>(people.size())};
  for (const char* way : kWays) {
    const auto image = tallies["image"][way], text = tallies["text"][way];
    result.ways.push_back({way, eval::share_of(image.won, image.asked),
                           eval::share_of(text.won, text.asked), image.asked, text.asked});
  }
  return result;
}

std::string preference_text(const PreferenceResult& result) {
  const auto percent = [](const eval::Interval& share, std::int64_t answers) {
    return answers == 0 ? std::string("no answers")
                        : fmt::format("{:.1f} % [{:.1f}, {:.1f}]", 100 * share.mean,
                                      100 * share.low, 100 * share.high);
  };
  auto text = fmt::format(
      "| preferred by {} people | image alignment | text alignment |\n"
      "|---|---|---|\n",
      result.people);
  for (const auto& one : result.ways) {
    text += fmt::format("| {} | {} | {} |\n", one.way, percent(one.image, one.image_answers),
                        percent(one.text, one.text_answers));
  }
  return text;
}

}  // namespace mos::study
