#include <fmt/core.h>

#include <string>
#include <utility>
#include <vector>

#include "mos/base/counted.h"
#include "mos/base/error.h"
#include "mos/base/text.h"
#include "mos/region/region.h"

/// The authors' strings of regions and of weights by box.
namespace mos::region {

namespace {

constexpr std::string_view kFieldSeparator = "-*-";

std::vector<std::string> split(const std::string& text, std::string_view separator) {
  std::vector<std::string> parts;
  std::size_t begin = 0;
  for (auto end = text.find(separator); end != std::string::npos;
       end = text.find(separator, begin)) {
    parts.push_back(text.substr(begin, end - begin));
    begin = end + separator.size();
  }
  parts.push_back(text.substr(begin));
  return parts;
}

/// At each bar outside of braces: one inside parts the texts of a choice.
std::vector<std::string> split_regions(const std::string& text) {
  std::vector<std::string> parts(1);
  int depth = 0;
  for (const char c : text) {
    if (c == '{') ++depth;
    if (c == '}' && depth > 0) --depth;
    if (c == '|' && depth == 0) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

std::string without_brackets(const std::string& field, const std::string& region) {
  auto text = trimmed(field);
  if (text.size() < 2 || text.front() != '[' || text.back() != ']') {
    throw Error(ErrorKind::kUsage,
                fmt::format("region \"{}\": \"{}\" must stand in brackets; expected "
                            "[prompt]-*-[negative prompt]-*-[top, left, bottom, right]",
                            printable(region), printable(text)));
  }
  return text.substr(1, text.size() - 2);
}

std::vector<double> numbers_of(const std::string& text, const std::string& region) {
  std::vector<double> numbers;
  for (const auto& part : split(text, ",")) {
    const auto word = trimmed(part);
    const auto number = number_in<double>(word);
    if (!number) {
      throw Error(ErrorKind::kUsage, fmt::format("region \"{}\": \"{}\" is not a number in the box "
                                                 "[top, left, bottom, right]",
                                                 printable(region), printable(word)));
    }
    numbers.push_back(*number);
  }
  return numbers;
}

}  // namespace

std::vector<BoxWeight> parse_box_weights(const std::string& text, Canvas canvas) {
  std::vector<BoxWeight> weights;
  if (trimmed(text).empty()) return weights;
  for (const auto& part : split(text, "|")) {
    const auto whole = trimmed(part);
    const auto close = whole.find(']');
    if (close == std::string::npos || close + 1 >= whole.size() || whole[close + 1] != '-') {
      throw Error(ErrorKind::kUsage,
                  fmt::format("\"{}\" is no weight of a box; expected [top, left, bottom, "
                              "right]-weight",
                              printable(whole)));
    }
    const auto box = numbers_of(without_brackets(whole.substr(0, close + 1), whole), whole);
    const auto weight = numbers_of(whole.substr(close + 2), whole);
    if (weight.size() != 1) {
      throw Error(ErrorKind::kUsage, fmt::format("\"{}\" has several weights", printable(whole)));
    }
    weights.push_back({make_box(box, canvas), weight.front()});
  }
  return weights;
}

std::vector<Region> parse_prompt_rewrite(const std::string& text, Canvas canvas) {
  std::vector<Region> regions;
  for (const auto& part : split_regions(text)) {
    const auto whole = trimmed(part);
    if (whole.empty()) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("region {} of --regions is empty: leave it out, or write "
                              "[prompt]-*-[negative prompt]-*-[top, left, bottom, right]",
                              regions.size() + 1));
    }
    const auto fields = split(whole, kFieldSeparator);
    if (fields.size() != 3) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("region \"{}\" has {}, expected three: [prompt]-*-[negative "
                              "prompt]-*-[top, left, bottom, right]",
                              printable(whole), counted(fields.size(), "part")));
    }
    Region region;
    region.prompt = without_brackets(fields[0], whole);
    region.negative_prompt = without_brackets(fields[1], whole);
    region.box = make_box(numbers_of(without_brackets(fields[2], whole), whole), canvas);
    regions.push_back(std::move(region));
  }
  return regions;
}

}  // namespace mos::region
