#pragma once

#include <fmt/core.h>

#include <array>
#include <string>
#include <vector>

#include "mos/study/parts.h"

/// Concepts that exist by name alone, for what plans and tables say.
namespace mos::study::made_up {

inline Subject subject(const std::string& name, const std::string& category = "object",
                       Set set = Set::kReport) {
  return {.name = name,
          .folder = "absent",
          .set = set,
          .category = category,
          .class_word = "cat",
          .words = {"<" + name + "1>", "<" + name + "2>"},
          .digest = name};
}

/// So many reported ones, two things and then a scene, and three each of the other sets.
inline std::vector<Subject> subjects(std::size_t reported) {
  constexpr std::array kCategories = {"character", "object", "scene"};
  std::vector<Subject> all;
  for (std::size_t i = 0; i < reported; ++i) {
    all.push_back(subject(fmt::format("r{}", i), kCategories[i % 3]));
  }
  for (const char* name : {"c0", "c1", "c2"}) all.push_back(subject(name, "object", Set::kChoose));
  for (const char* name : {"k0", "k1", "k2"}) all.push_back(subject(name, "object", Set::kCheck));
  return all;
}

/// A study of them on a base that brings no defaults.
struct Study {
  Study(const StudyOptions& given, std::vector<Subject> of)
      : options(complete_options(given)), ground{options, prompts, std::move(of)} {}
  Study(const StudyOptions& given, std::size_t reported) : Study(given, subjects(reported)) {}
  Study(const Study&) = delete;
  Study& operator=(const Study&) = delete;

  std::vector<Table> tables(const std::string& part) const {
    return part_named(part).tables(ground);
  }

  StudyOptions options;
  Prompts prompts = own_prompts();
  Ground ground;
};

}  // namespace mos::study::made_up
