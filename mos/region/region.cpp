#include "mos/region/region.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "mos/base/describe.h"
#include "mos/base/error.h"
#include "mos/base/text.h"

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

struct RegionFields {
  std::string prompt;
  std::string negative_prompt;
  std::vector<double> box;
  double weight = 1.0;
  std::string name, mask, mask_sha256;
  Json polygon = Json::array();
  bool background = false;
  double feather = 0.0, start = 0.0, end = 1.0;
};

template <class Visitor>
void describe(Visitor& visit, RegionFields& fields) {
  visit("prompt", fields.prompt, "what is in this region");
  visit("negative_prompt", fields.negative_prompt, "what is not");
  visit("box", fields.box, "[top, left, bottom, right] in pixels or fractions");
  visit("weight", fields.weight, "share of the region's own text inside the box");
  visit("name", fields.name, "what --redo-region calls it");
  visit("mask", fields.mask, "a picture instead of the box, grey is weight");
  visit("mask_sha256", fields.mask_sha256, "of a recorded scene");
  visit("polygon", fields.polygon, "[[top, left], ...] instead of the box");
  visit("background", fields.background, "wherever no other region is, instead of the box");
  visit("feather", fields.feather, "pixels over which its edge is softened");
  visit("start", fields.start, "share of the steps before it begins");
  visit("end", fields.end, "share of the steps when it ends");
}

struct BoxWeightFields {
  std::vector<double> box;
  double weight = 1.0;
};

template <class Visitor>
void describe(Visitor& visit, BoxWeightFields& fields) {
  visit("box", fields.box, "[top, left, bottom, right] in pixels or fractions");
  visit("weight", fields.weight, "factor on the features inside the box");
}

struct ConditionFields {
  Condition condition;
  Json boxes = Json::array();
};

template <class Visitor>
void describe(Visitor& visit, ConditionFields& fields) {
  auto& condition = fields.condition;
  visit("adapter", condition.adapter, "T2I-Adapter or ControlNet: a folder or a file");
  visit("picture", condition.picture, "the condition picture");
  visit("adapter_sha256", condition.adapter_sha256, "of a recorded scene");
  visit("picture_sha256", condition.picture_sha256, "of a recorded scene");
  visit("weight", condition.weight, "factor on its features");
  visit("boxes", fields.boxes, "other factors inside boxes");
  visit("start", condition.start, "share of the steps before it begins");
  visit("end", condition.end, "share of the steps when it ends");
  visit("guess_mode", condition.guess_mode, "ControlNet without a prompt");
}

struct SceneFields {
  std::string prompt;
  std::string negative_prompt;
  std::int64_t height = 0;
  std::int64_t width = 0;
  Json regions = Json::array();
  Json conditions = Json::array();
  std::string root_prompt, root_negative_prompt;
  std::string overlap = "mean";
  double base_ratio = 0.0;
  bool isolate = false;
};

template <class Visitor>
void describe(Visitor& visit, SceneFields& fields) {
  visit("prompt", fields.prompt, "context of the whole picture");
  visit("negative_prompt", fields.negative_prompt, "what is not in the picture");
  visit("height", fields.height, "pixels");
  visit("width", fields.width, "pixels");
  visit("regions", fields.regions, "list of regions");
  visit("conditions", fields.conditions, "list of spatial conditions");
  visit("root_prompt", fields.root_prompt, "stands before every prompt");
  visit("root_negative_prompt", fields.root_negative_prompt, "the same of negative prompts");
  visit("overlap", fields.overlap, "mean, or front: the first region covers the others");
  visit("base_ratio", fields.base_ratio, "share of the context inside every region");
  visit("isolate", fields.isolate, "regions do not see each other in self-attention");
}

void check_weight(double weight, const std::string& origin) {
  if (weight > 0.0 && weight <= 1.0) return;
  throw Error(ErrorKind::kUsage,
              fmt::format("{}: weight {} must be above 0 and at most 1", origin, weight));
}

Condition condition_from_json(const Json& json, const std::string& where, Canvas canvas) {
  ConditionFields fields;
  read_options(json, where, fields);
  if (!fields.boxes.is_array()) {
    throw Error(ErrorKind::kUsage, where + ": \"boxes\" must be a list");
  }
  for (const auto& entry : fields.boxes) {
    BoxWeightFields box;
    read_options(entry, where + ": boxes", box);
    fields.condition.boxes.push_back({make_box(box.box, canvas), box.weight});
  }
  check_condition(fields.condition, where);
  return fields.condition;
}

/// Where a region is: exactly one of box, mask, polygon and background.
void place_region(const RegionFields& fields, const std::string& where, Canvas canvas,
                  Region& region) {
  const auto require = [&](bool holds, const std::string& what) {
    if (!holds) throw Error(ErrorKind::kUsage, where + what);
  };
  const bool has_polygon = !fields.polygon.empty();
  const int places = !fields.box.empty() + !fields.mask.empty() + has_polygon + fields.background;
  require(places <= 1, " has more than one of box, mask, polygon and background; give one");
  require(fields.feather >= 0.0 && fields.feather <= 1024.0,
          fmt::format(": feather is {}, expected 0 to 1024 pixels", fields.feather));
  require(fields.start >= 0.0 && fields.end <= 1.0 && fields.start < fields.end,
          fmt::format(": start {} and end {} must lie in 0 to 1, start before end", fields.start,
                      fields.end));
  region.name = fields.name;
  region.mask = fields.mask;
  region.mask_sha256 = fields.mask_sha256;
  region.background = fields.background;
  region.feather = fields.feather;
  region.start = fields.start;
  region.end = fields.end;
  if (places == 0 || !fields.box.empty()) region.box = make_box(fields.box, canvas);
  if (!has_polygon) return;
  std::vector<std::vector<double>> corners;
  constexpr std::size_t kMostCorners = 10'000;
  const bool is_list =
      assign_json(fields.polygon, corners) && corners.size() >= 3 && corners.size() <= kMostCorners;
  require(is_list,
          fmt::format(": a polygon is a list of 3 to {} corners [top, left]", kMostCorners));
  bool fractions = true;
  for (const auto& corner : corners) {
    require(corner.size() == 2, ": a corner of a polygon has two numbers, top and left");
    fractions = fractions && corner[0] <= 1.0 && corner[1] <= 1.0;
  }
  for (const auto& corner : corners) {
    const Point point{corner[0] / (fractions ? 1.0 : static_cast<double>(canvas.height)),
                      corner[1] / (fractions ? 1.0 : static_cast<double>(canvas.width))};
    require(point.top >= 0.0 && point.top <= 1.0 && point.left >= 0.0 && point.left <= 1.0,
            fmt::format(": the corner [{}, {}] lies outside the canvas of {} x {} pixels (height x "
                        "width)",
                        corner[0], corner[1], canvas.height, canvas.width));
    region.polygon.push_back(point);
  }
}

void check_rules(const SceneFields& fields, const std::string& origin) {
  if (fields.overlap != "mean" && fields.overlap != "front") {
    throw Error(ErrorKind::kUsage, fmt::format("{}: overlap is \"{}\", expected mean or front",
                                               origin, printable(fields.overlap)));
  }
  if (!(fields.base_ratio >= 0.0 && fields.base_ratio < 1.0)) {
    throw Error(ErrorKind::kUsage, fmt::format("{}: base_ratio is {}, expected 0 to below 1",
                                               origin, fields.base_ratio));
  }
}

Json numbers_of(const Box& box) { return {box.top, box.left, box.bottom, box.right}; }

/// Only what is not usual: scenes recorded before there was more are the same bytes.
Json region_to_json(const Region& region) {
  Json json = {{"prompt", region.prompt}, {"negative_prompt", region.negative_prompt}};
  if (!region.mask.empty()) {
    json["mask"] = region.mask;
    json["mask_sha256"] = region.mask_sha256;
  } else if (!region.polygon.empty()) {
    json["polygon"] = Json::array();
    for (const auto& [top, left] : region.polygon) json["polygon"].push_back({top, left});
  } else if (region.background) {
    json["background"] = true;
  } else {
    json["box"] = numbers_of(region.box);
  }
  json["weight"] = region.weight;
  if (!region.name.empty()) json["name"] = region.name;
  if (region.feather != 0.0) json["feather"] = region.feather;
  if (region.start != 0.0) json["start"] = region.start;
  if (region.end != 1.0) json["end"] = region.end;
  return json;
}

void rules_to_json(const Scene& scene, Json& json) {
  if (!scene.root_prompt.empty()) json["root_prompt"] = scene.root_prompt;
  if (!scene.root_negative_prompt.empty()) {
    json["root_negative_prompt"] = scene.root_negative_prompt;
  }
  if (scene.overlap != "mean") json["overlap"] = scene.overlap;
  if (scene.base_ratio != 0.0) json["base_ratio"] = scene.base_ratio;
  if (scene.isolate) json["isolate"] = true;
}

Json condition_to_json(const Condition& condition) {
  Json json = {{"adapter", condition.adapter}, {"adapter_sha256", condition.adapter_sha256},
               {"picture", condition.picture}, {"picture_sha256", condition.picture_sha256},
               {"weight", condition.weight},   {"start", condition.start},
               {"end", condition.end},         {"guess_mode", condition.guess_mode},
               {"boxes", Json::array()}};
  for (const auto& [box, weight] : condition.boxes) {
    json["boxes"].push_back({{"box", numbers_of(box)}, {"weight", weight}});
  }
  return json;
}

}  // namespace

bool Scene::is_plain() const {
  return overlap == "mean" && base_ratio == 0.0 && !isolate &&
         std::all_of(regions.begin(), regions.end(),
                     [](const Region& region) { return region.is_plain_box(); });
}

FeatureBox on_features(const Box& box, std::int64_t height, std::int64_t width) {
  const auto h = static_cast<double>(height), w = static_cast<double>(width);
  return {static_cast<std::int64_t>(std::ceil(box.top * h)),
          static_cast<std::int64_t>(std::ceil(box.left * w)),
          static_cast<std::int64_t>(std::floor(box.bottom * h)),
          static_cast<std::int64_t>(std::floor(box.right * w))};
}

Box make_box(const std::vector<double>& numbers, Canvas canvas) {
  if (numbers.size() != 4) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format("a box has four numbers, top, left, bottom, right, but [{}] has {}",
                    printable(fmt::format("{}", fmt::join(numbers, ", "))), numbers.size()));
  }
  const bool fractions =
      std::all_of(numbers.begin(), numbers.end(), [](double x) { return x <= 1.0; });
  const double height = fractions ? 1.0 : static_cast<double>(canvas.height);
  const double width = fractions ? 1.0 : static_cast<double>(canvas.width);
  const Box box{numbers[0] / height, numbers[1] / width, numbers[2] / height, numbers[3] / width};
  const bool finite =
      std::all_of(numbers.begin(), numbers.end(), [](double x) { return std::isfinite(x); });
  if (!finite || box.top < 0.0 || box.left < 0.0 || box.bottom > 1.0 || box.right > 1.0) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format("box [{}] reaches outside the canvas of {} x {} pixels (height x width)",
                    fmt::join(numbers, ", "), canvas.height, canvas.width));
  }
  if (box.top >= box.bottom || box.left >= box.right) {
    throw Error(ErrorKind::kUsage,
                fmt::format("box [{}] has no area; expected top < bottom and left < right",
                            fmt::join(numbers, ", ")));
  }
  return box;
}

void check_condition(const Condition& condition, const std::string& where) {
  const auto require = [&](bool holds, const std::string& what) {
    if (!holds) throw Error(ErrorKind::kUsage, where + what);
  };
  require(!condition.adapter.empty() && !condition.picture.empty(),
          " needs an adapter and a picture");
  require(condition.start >= 0.0 && condition.end <= 1.0 && condition.start < condition.end,
          fmt::format(": start {} and end {} must lie in 0 to 1, start before end", condition.start,
                      condition.end));
  require(std::isfinite(condition.weight), ": weight is no number");
  for (const auto& [box, weight] : condition.boxes) {
    require(std::isfinite(weight), ": the weight of a box is no number");
  }
}

Scene scene_from_json(const Json& json, const std::string& origin, Canvas fallback) {
  SceneFields fields;
  read_options(json, origin, fields);
  check_rules(fields, origin);
  Scene scene{fields.prompt, fields.negative_prompt, {}, std::nullopt, {}};
  scene.root_prompt = fields.root_prompt;
  scene.root_negative_prompt = fields.root_negative_prompt;
  scene.overlap = fields.overlap;
  scene.base_ratio = fields.base_ratio;
  scene.isolate = fields.isolate;
  if (fields.height > 0 && fields.width > 0) scene.canvas = Canvas{fields.height, fields.width};
  if ((fields.height > 0) != (fields.width > 0)) {
    throw Error(ErrorKind::kUsage, origin + " names only one of height and width; give both");
  }
  if (!fields.regions.is_array()) {
    throw Error(ErrorKind::kUsage, origin + ": \"regions\" must be a list");
  }
  for (const auto& entry : fields.regions) {
    const auto where = fmt::format("{}: region {}", origin, scene.regions.size() + 1);
    RegionFields region;
    read_options(entry, where, region);
    if (trimmed(region.prompt).empty()) throw Error(ErrorKind::kUsage, where + " has no prompt");
    check_weight(region.weight, where);
    scene.regions.push_back({region.prompt, region.negative_prompt, {}, region.weight});
    place_region(region, where, scene.canvas.value_or(fallback), scene.regions.back());
  }
  if (!fields.conditions.is_array()) {
    throw Error(ErrorKind::kUsage, origin + ": \"conditions\" must be a list");
  }
  for (const auto& entry : fields.conditions) {
    scene.conditions.push_back(condition_from_json(
        entry, fmt::format("{}: condition {}", origin, scene.conditions.size() + 1),
        scene.canvas.value_or(fallback)));
  }
  return scene;
}

Json scene_to_json(const Scene& scene) {
  Json json = {{"prompt", scene.prompt}, {"negative_prompt", scene.negative_prompt}};
  if (scene.canvas) {
    json["height"] = scene.canvas->height;
    json["width"] = scene.canvas->width;
  }
  json["regions"] = Json::array();
  for (const auto& region : scene.regions) json["regions"].push_back(region_to_json(region));
  rules_to_json(scene, json);
  if (scene.conditions.empty()) return json;
  json["conditions"] = Json::array();
  for (const auto& condition : scene.conditions) {
    json["conditions"].push_back(condition_to_json(condition));
  }
  return json;
}

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
    const auto fields = split(whole, kFieldSeparator);
    if (fields.size() != 3) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("region \"{}\" has {} parts, expected three: [prompt]-*-[negative "
                              "prompt]-*-[top, left, bottom, right]",
                              printable(whole), fields.size()));
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
