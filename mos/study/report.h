#pragma once

#include <string>

#include "mos/study/study.h"

/// A study as files: figures for programs, tables for people, pictures side by side.
namespace mos::study {

/// What study.md begins with.
inline constexpr const char* kTablesHeading = "# Study\n";

Json to_json(const StudyReport& report);
std::string tables_text(const StudyReport& report);  ///< Markdown.
std::string page_text(const StudyReport& report);    ///< HTML, with one picture of each.

}  // namespace mos::study
