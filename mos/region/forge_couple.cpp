#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <set>

#include "mos/base/text.h"
#include "mos/region/foreign_options.h"

/// Forge Couple's modes (github.com/Haoming02/sd-forge-couple): a line of the prompt for each
/// region.
namespace mos::region {
namespace {

std::string couple_field(const A1111Fields& fields, const std::string& name,
                         const std::string& fallback) {
  return field_of(fields, "forge_couple_" + name, fallback);
}

/// The parts of the prompt between separators that have something in them beside names of files.
std::vector<std::string> lines_of(ForeignRecord& record, const std::string& separator) {
  const auto& prompt = record.prompt;
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin <= prompt.size();) {
    const auto end = std::min(prompt.find(separator, begin), prompt.size());
    auto line = trimmed(prompt.substr(begin, end - begin));
    const auto tagged = text::take_lora_tags(line);
    if (tagged.prompt.empty()) {
      record.loras.insert(record.loras.end(), tagged.loras.begin(), tagged.loras.end());
    } else {
      lines.push_back(std::move(line));
    }
    begin = end + separator.size();
  }
  return lines;
}

/// What divides the prompt, as it is read there: in version 4 with escapes, of which \t is a space.
std::string separator_of(const A1111Fields& fields) {
  const auto given =
      replaced(replaced(couple_field(fields, "separator", ""), "\\n", "\n"), "\\t", " ");
  return trimmed(given).empty() ? "\n" : given;
}

/// Lines take the place of the prompt, and the negative prompt holds in all of them.
void begin_regions(ForeignRecord& record) {
  record.prompt.clear();
  move_negative_to_root(record);
}

/// Equal tiles side by side, or one below the other; a background line stands in all of them.
void take_basic(const A1111Fields& fields, std::vector<std::string> lines, ForeignRecord& record) {
  const auto background = couple_field(fields, "background", "None");
  const std::size_t needed = background == "None" ? 2 : 3;
  if (lines.size() < needed) {
    record.left_out.push_back(
        fmt::format("Forge Couple's regions: with the background {} there must be {} lines at "
                    "least between separators {}, and the prompt has {}",
                    background, needed, quoted(Json(separator_of(fields))), lines.size()));
    return;
  }
  begin_regions(record);
  if (background != "None") {
    const bool first = background == "First Line";
    record.prompt = first ? lines.front() : lines.back();
    lines.erase(first ? lines.begin() : lines.end() - 1);
    double weight = 0.5;  // theirs
    take_number(couple_field(fields, "background_weight", "0.5"), weight, "background weight",
                record);
    weight = std::max(weight, 0.1);  // the least of it, there
    record.scene["base_ratio"] = weight / (1.0 + weight);
  }
  const bool horizontal = couple_field(fields, "direction", "Horizontal") == "Horizontal";
  const auto count = static_cast<double>(lines.size());
  auto regions = Json::array();
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const double from = static_cast<double>(i) / count, to = static_cast<double>(i + 1) / count;
    const auto box = horizontal ? Json{0.0, from, 1.0, to} : Json{from, 0.0, to, 1.0};
    regions.push_back({{"prompt", lines[i]}, {"box", box}});
  }
  record.scene["regions"] = regions;
}

/// Rows of x1, x2, y1, y2 and a weight, one for each line. One that covers all is the background.
void take_advanced(const A1111Fields& fields, const std::vector<std::string>& lines,
                   ForeignRecord& record) {
  std::vector<std::vector<double>> rows;
  Json mapping;
  try {
    mapping = parse_json(couple_field(fields, "mapping", "[]"), "the mapping");
  } catch (const Error&) {
  }
  bool fits = assign_json(mapping, rows) && rows.size() == lines.size();
  for (const auto& row : rows) fits = fits && row.size() == 5;
  if (!fits) {
    record.left_out.push_back(
        fmt::format("Forge Couple's mapping, which has not a row of five numbers for each of the "
                    "prompt's {} lines between separators {}",
                    lines.size(), quoted(Json(separator_of(fields)))));
    return;
  }
  auto regions = Json::array();
  std::size_t background = rows.size();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const double left = rows[i][0], right = rows[i][1], top = rows[i][2], bottom = rows[i][3];
    const double weight = rows[i][4];
    const bool is_all = left <= 0 && top <= 0 && right >= 1 && bottom >= 1 && rows.size() > 1;
    if (is_all && background == rows.size() && weight > 0) {
      background = i;
      continue;
    }
    if (weight <= 0.0) continue;  // it has no say there either
    regions.push_back({{"prompt", lines[i]},
                       {"box", {top, left, bottom, right}},
                       {"weight", region_weight(weight, lines[i], record)}});
  }
  if (regions.empty()) {
    record.left_out.push_back(
        "Forge Couple's regions, as its mapping has none beside the background with a weight");
    return;
  }
  begin_regions(record);
  if (background < rows.size()) {
    record.prompt = lines[background];
    record.scene["base_ratio"] = rows[background][4] / (1.0 + rows[background][4]);
  }
  record.scene["regions"] = regions;
}

/// Says which of Forge Couple's fields, or of the values of those that choose, are not known here.
void name_unknown(const A1111Fields& fields, ForeignRecord& record) {
  static const std::map<std::string, std::set<std::string>> known = {
      {"forge_couple", {}},
      {"forge_couple_mode", {}},  // said below
      {"forge_couple_separator", {}},
      {"forge_couple_compatibility", {"False"}},
      {"forge_couple_direction", {"Horizontal", "Vertical"}},
      {"forge_couple_background", {"None", "First Line", "Last Line"}},
      {"forge_couple_background_weight", {}},
      {"forge_couple_mapping", {}},
      {"forge_couple_common_parser", {"off"}}};
  for (const auto& [key, value] : fields) {
    if (!key.starts_with("forge_couple")) continue;
    const auto found = known.find(key);
    const bool is_known =
        found != known.end() && (found->second.empty() || found->second.contains(value));
    if (!is_known) record.left_out.push_back(fmt::format("{}: {}", key, value));
  }
}

}  // namespace

void take_forge_couple(const A1111Fields& fields, ForeignRecord& record) {
  name_unknown(fields, record);
  const auto mode = couple_field(fields, "mode", "Basic");
  if (fields.at("forge_couple") == "ERROR") {
    record.left_out.push_back(
        "Forge Couple's regions, which it did not paint with: it found a mistake in them");
    return;
  }
  if (mode != "Basic" && mode != "Advanced") {
    record.left_out.push_back(
        fmt::format("Forge Couple's mode {}: its masks are not in the "
                    "picture; give them as \"mask\" of a scene's regions",
                    mode));
    return;
  }
  const auto lines = lines_of(record, separator_of(fields));
  if (mode == "Basic") {
    take_basic(fields, lines, record);
  } else {
    take_advanced(fields, lines, record);
  }
}

}  // namespace mos::region
