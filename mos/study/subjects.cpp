#include "mos/study/subjects.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <sstream>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/base/folder.h"
#include "mos/base/json.h"
#include "mos/base/sha256.h"
#include "mos/base/text.h"
#include "mos/concepts/tokens.h"
#include "mos/world/sample_concepts.h"

namespace mos::study {

namespace fs = std::filesystem;

namespace {

constexpr const char* kDescription = "concept.json";
constexpr std::array kCategories = {"character", "object", "scene"};

bool is_category(const std::string& name) {
  return std::find(kCategories.begin(), kCategories.end(), name) != kCategories.end();
}

/// Of the names and bytes of all files below `folder`.
std::string digest_of_folder(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file() && !is_system_entry(entry.path())) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  Sha256 sha;
  for (const auto& file : files) {
    const auto name = fs::relative(file, folder).generic_string() + '\n';
    const auto bytes = read_whole_file(file);
    sha.update(name.data(), name.size());
    sha.update(bytes.data(), bytes.size());
  }
  return sha.hex();
}

Subject read_subject(const fs::path& folder, Set set) {
  const auto json = read_json_file(folder / kDescription);
  const auto dataset = tune::check_dataset(folder).dataset;
  Subject subject{.name = fs::path(folder).lexically_normal().filename().string(),
                  .folder = folder,
                  .set = set,
                  .category = json_value<std::string>(json, "category", "object"),
                  .style = json_value<std::string>(json, "style", ""),
                  .class_word = dataset.class_word,
                  .words = dataset.words,
                  .digest = digest_of_folder(folder)};
  if (subject.words.empty() || subject.class_word.empty()) {
    throw Error(ErrorKind::kUsage,
                fmt::format("{} names no \"words\" or no \"class_word\"; a study needs both",
                            (folder / kDescription).string()));
  }
  if (!is_category(subject.category)) {
    throw Error(ErrorKind::kUsage,
                fmt::format("{}: \"category\" is \"{}\", expected character, object or scene",
                            (folder / kDescription).string(), subject.category));
  }
  return subject;
}

/// Where a drawn concept stands in its set, which mixes the categories; others come behind.
std::size_t drawn_rank(const Subject& subject) {
  const auto& drawn = world::study_concepts();
  const auto found = std::find_if(drawn.begin(), drawn.end(), [&](const auto& one) {
    return one.drawn.name == subject.name && one.drawn.style == subject.style;
  });
  return static_cast<std::size_t>(found - drawn.begin());
}

std::vector<std::string> with_each(const char* before, const std::vector<std::string>& parts,
                                   const char* behind) {
  std::vector<std::string> prompts;
  for (const auto& part : parts) prompts.push_back(before + part + behind);
  return prompts;
}

/// Throws unless each has the placeholder.
void check_prompts(const fs::path& path, const Prompts& prompts) {
  for (const auto& [category, of_category] : prompts) {
    if (!is_category(category)) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("{} has prompts for \"{}\", expected character, object or scene",
                              path.string(), printable(category)));
    }
    for (const auto& prompt : of_category) {
      if (prompt.find(concepts::kPlaceholder) != std::string::npos) continue;
      throw Error(ErrorKind::kUsage,
                  fmt::format("{} has the prompt \"{}\" without {}, which stands for the concept",
                              path.string(), printable(prompt), concepts::kPlaceholder));
    }
    if (of_category.empty()) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("{} has no prompts for \"{}\"", path.string(), category));
    }
  }
}

}  // namespace

std::string Subject::phrase() const { return fmt::format("{}", fmt::join(words, " ")); }

const Subject& subject_named(const std::vector<Subject>& subjects, const std::string& name) {
  for (const auto& subject : subjects) {
    if (subject.name == name) return subject;
  }
  throw Error(ErrorKind::kUsage, "a study has no concept " + name);
}

std::vector<Subject> load_subjects(const std::vector<std::string>& folders, Set set) {
  std::vector<Subject> subjects;
  for (const auto& name : folders) {
    const fs::path folder(name);
    const auto before = subjects.size();
    if (fs::exists(folder / kDescription)) {
      subjects.push_back(read_subject(folder, set));
    } else {
      for (const auto& entry : entries_of(folder)) {
        if (fs::exists(entry / kDescription)) subjects.push_back(read_subject(entry, set));
      }
    }
    if (subjects.size() == before) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("{} is no concept and holds none: expected a folder with {}, or "
                              "folders of that kind",
                              name, kDescription));
    }
  }
  std::stable_sort(subjects.begin(), subjects.end(), [](const Subject& a, const Subject& b) {
    return drawn_rank(a) < drawn_rank(b);
  });
  return subjects;
}

void check_disjoint(const std::vector<Subject>& subjects) {
  std::map<std::string, const Subject*> seen;
  for (const auto& subject : subjects) {
    auto keys = subject.words;
    keys.push_back("the name " + subject.name);
    keys.push_back("pictures " + subject.digest);
    for (const auto& key : keys) {
      const auto [place, is_new] = seen.emplace(key, &subject);
      if (is_new) continue;
      throw Error(ErrorKind::kUsage,
                  fmt::format("{} and {} share {}; a study's concepts must differ, since settings "
                              "are chosen on some and reported on others",
                              place->second->folder.string(), subject.folder.string(),
                              key.starts_with("pictures") ? "their pictures" : key));
    }
  }
}

Prompts own_prompts() {
  auto things = with_each("", {"a photo of a <TOK>"}, "");
  const auto places = with_each("a <TOK> ",
                                {"on the beach", "in the snow", "in the forest", "in the city",
                                 "in a meadow", "at night", "in the desert", "by the lake",
                                 "in the mountains", "in a room", "at sunset", "under the sea"},
                                "");
  const auto colours =
      with_each("a <TOK> on a ", {"red", "blue", "green", "yellow", "purple", "white", "pink"},
                " background");
  things.insert(things.end(), places.begin(), places.end());
  things.insert(things.end(), colours.begin(), colours.end());
  auto scenes = with_each("", {"a photo of <TOK>"}, "");
  const auto guests = with_each(
      "a ",
      {"lion", "cat", "dog", "panda", "penguin", "robot", "man", "woman", "princess", "astronaut",
       "car", "castle", "rabbit", "horse", "fox", "dragon", "monkey", "ghost", "bear"},
      " in <TOK>");
  scenes.insert(scenes.end(), guests.begin(), guests.end());
  return {{"character", things}, {"object", things}, {"scene", scenes}};
}

Prompts read_prompts(const fs::path& path) {
  Prompts prompts;
  if (path.extension() == ".json") {
    const auto json = read_json_file(path);
    if (!json.is_object()) {
      throw Error(ErrorKind::kFormat, path.string() + " must hold an object of lists by category");
    }
    for (const auto& [category, list] : json.items()) {
      prompts[category] = json_required<std::vector<std::string>>(json, category);
    }
  } else {
    std::vector<std::string> lines;
    std::istringstream text(read_text_file(path));
    for (std::string line; std::getline(text, line);) {
      if (const auto prompt = trimmed(line); !prompt.empty()) lines.push_back(prompt);
    }
    for (const char* category : kCategories) prompts[category] = lines;
  }
  check_prompts(path, prompts);
  return prompts;
}

std::string filled(const std::string& prompt, const std::string& text) {
  return replaced(prompt, concepts::kPlaceholder, text);
}

std::vector<torch::Tensor> own_pictures(const Subject& subject) {
  std::vector<torch::Tensor> pictures;
  for (auto& picture : tune::load_dataset(subject.folder).pictures) {
    pictures.push_back(picture.pixels);
  }
  return pictures;
}

}  // namespace mos::study
