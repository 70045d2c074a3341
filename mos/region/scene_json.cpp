#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "mos/base/describe.h"
#include "mos/base/error.h"
#include "mos/base/naming.h"
#include "mos/base/text.h"
#include "mos/region/region.h"
#include "mos/region/units.h"

/// Scenes as files and records hold them.
namespace mos::region {

namespace {

struct RegionFields {
  std::string prompt;
  std::string negative_prompt;
  std::vector<double> box;
  double weight = 1.0;
  std::string name, mask, mask_sha256;
  Json polygon = Json::array(), drawing = Json::array();
  bool background = false;
  double feather = 0.0, start = 0.0, end = 1.0;
  std::string subject;
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
  visit("drawing", fields.drawing, "strokes of a brush instead of the box");
  visit("background", fields.background, "wherever no other region is, instead of the box");
  visit("feather", fields.feather, "pixels over which its edge is softened");
  visit("start", fields.start, "share of the steps before it begins");
  visit("end", fields.end, "share of the steps when it ends");
  visit("subject", fields.subject, "the words of the prompt that it is of");
}

struct StrokeFields {
  Json points = Json::array();
  double width = 0.0;
  bool erase = false;
};

template <class Visitor>
void describe(Visitor& visit, StrokeFields& fields) {
  visit("points", fields.points, "[[top, left], ...]");
  visit("width", fields.width, "of the brush; 0: the area inside the points");
  visit("erase", fields.erase, "takes away what was drawn before");
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

void check(bool holds, const std::string& message) {
  if (!holds) throw Error(ErrorKind::kUsage, message);
}

/// Options say of what they are where they are none at all.
void check_object(const Json& json, const std::string& where, const char* what) {
  check(json.is_object(), fmt::format("{} must hold a JSON object of {}", where, what));
}

constexpr std::size_t kMostPoints = 10'000;  // of a region

using Numbers = std::vector<std::vector<double>>;

void gather(const Numbers& points, std::vector<double>& numbers) {
  for (const auto& point : points) numbers.insert(numbers.end(), point.begin(), point.end());
}

/// Points as fractions of the canvas, from fractions or pixels.
std::vector<Point> points_of(const Numbers& numbers, bool fractions, Canvas canvas) {
  std::vector<Point> points;
  for (const auto& point : numbers) {
    points.push_back({point[0] / (fractions ? 1.0 : static_cast<double>(canvas.height)),
                      point[1] / (fractions ? 1.0 : static_cast<double>(canvas.width))});
  }
  return points;
}

/// Points that lie on the canvas; `given` is how they were written.
void check_points(const std::vector<Point>& points, const Numbers& given, const std::string& where,
                  Canvas canvas) {
  for (std::size_t i = 0; i < points.size(); ++i) {
    const auto [top, left] = points[i];
    check(top >= 0.0 && top <= 1.0 && left >= 0.0 && left <= 1.0,
          fmt::format("{}: the point [{:g}, {:g}] lies outside the canvas of {} x {} pixels "
                      "(width x height)",
                      where, given[i][0], given[i][1], canvas.width, canvas.height));
  }
}

/// `least` pairs of numbers or more.
Numbers pairs_of(const Json& json, std::size_t least, const std::string& where) {
  Numbers pairs;
  bool are_pairs = assign_json(json, pairs) && pairs.size() >= least && pairs.size() <= kMostPoints;
  for (const auto& pair : pairs) are_pairs = are_pairs && pair.size() == 2;
  check(are_pairs,
        fmt::format("{} is a list of {} to {} points [top, left]", where, least, kMostPoints));
  return pairs;
}

/// The corners of a polygon as fractions of the canvas.
std::vector<Point> polygon_of(const Json& json, const std::string& where, Canvas canvas) {
  const auto corners = pairs_of(json, 3, where + ": a polygon");
  std::vector<double> numbers;
  gather(corners, numbers);
  auto polygon = points_of(corners, are_fractions(numbers, where + ": the polygon"), canvas);
  check_points(polygon, corners, where, canvas);
  return polygon;
}

/// Strokes as fractions of the canvas: those of one drawing are all given so, or all in pixels.
std::vector<Stroke> drawing_of(const Json& json, const std::string& where, Canvas canvas) {
  std::vector<StrokeFields> given;
  std::vector<Numbers> points;
  std::vector<double> numbers;
  for (const auto& entry : json) {
    auto& stroke = given.emplace_back();
    const auto here = fmt::format("{}: stroke {} of the drawing", where, given.size());
    check_object(entry, here, "a stroke, its points and its width");
    read_options(entry, here, stroke);
    check(stroke.width >= 0.0, fmt::format("{}: the width is {}, expected that of a brush, or 0 "
                                           "for an area",
                                           here, stroke.width));
    points.push_back(pairs_of(stroke.points, stroke.width > 0.0 ? 1 : 3, here + ": \"points\""));
    gather(points.back(), numbers);
    check(numbers.size() <= 2 * kMostPoints,
          fmt::format("{}: a drawing has {} points at most", where, kMostPoints));
  }
  const bool has_parts =
      std::ranges::any_of(numbers, [](double x) { return x > 0.0 && x < 1.0; }) &&
      are_fractions(numbers, where + ": the drawing");
  for (const auto& stroke : given) {
    check(!has_parts || stroke.width <= 1.0,
          fmt::format("{}: a brush has a width of {}, which is in pixels, and the points of the "
                      "drawing are fractions: give both in one",
                      where, stroke.width));
    numbers.push_back(stroke.width);
  }
  const bool fractions = are_fractions(numbers, where + ": the drawing");
  std::vector<Stroke> strokes;
  for (std::size_t i = 0; i < given.size(); ++i) {
    const double unit = fractions ? 1.0 : static_cast<double>(canvas.height);
    strokes.push_back(
        {points_of(points[i], fractions, canvas), given[i].width / unit, given[i].erase});
    check(strokes.back().width <= 1.0,
          fmt::format("{}: a brush of {} pixels is wider than the canvas is high", where,
                      given[i].width));
    check_points(strokes.back().points, points[i], where, canvas);
  }
  return strokes;
}

/// A text or a list that is given says something: an empty one is a name that nobody can call, a
/// place that is nowhere.
void refuse_empty(const Json& region, const std::string& where) {
  for (const char* key : {"name", "mask", "subject", "box", "polygon", "drawing"}) {
    const auto found = region.find(key);
    if (found == region.end()) continue;
    const bool is_blank = found->is_string() && trimmed(found->get<std::string>()).empty();
    check(!is_blank && !(found->is_array() && found->empty()),
          fmt::format("{}: \"{}\" is empty; say something there, or leave it out", where, key));
  }
}

void check_weight(double weight, const std::string& origin) {
  if (weight > 0.0 && weight <= 1.0) return;
  throw Error(ErrorKind::kUsage,
              fmt::format("{}: weight {} must be above 0 and at most 1", origin, weight));
}

Condition condition_from_json(const Json& json, const std::string& where, Canvas canvas) {
  check_object(json, where, "a condition, its adapter and its picture");
  ConditionFields fields;
  read_options(json, where, fields);
  if (!fields.boxes.is_array()) {
    throw Error(ErrorKind::kUsage, where + ": \"boxes\" must be a list");
  }
  for (const auto& entry : fields.boxes) {
    BoxWeightFields box;
    check_object(entry, where + ": boxes", "a box and its weight");
    read_options(entry, where + ": boxes", box);
    fields.condition.boxes.push_back({make_box(box.box, canvas), box.weight});
  }
  check_condition(fields.condition, where);
  return fields.condition;
}

/// Where a region is: exactly one of box, mask, polygon, drawing and background.
void place_region(const RegionFields& fields, const std::string& where, Canvas canvas,
                  Region& region) {
  const auto require = [&where](bool holds, const std::string& what) {
    check(holds, where + what);
  };
  require(fields.polygon.is_array(), ": \"polygon\" must be a list of points");
  require(fields.drawing.is_array(), ": \"drawing\" must be a list of strokes");
  const bool has_polygon = !fields.polygon.empty(), has_drawing = !fields.drawing.empty();
  const int places =
      !fields.box.empty() + !fields.mask.empty() + has_polygon + has_drawing + fields.background;
  const auto& words = trimmed(fields.prompt).empty() ? fields.subject : fields.prompt;
  require(places > 0, fmt::format(" (\"{}\") is nowhere: give it a box, a mask, a polygon, a "
                                  "drawing or the background",
                                  printable(fields.name.empty() ? words : fields.name, 40)));
  require(places <= 1,
          " has more than one of box, mask, polygon, drawing and background; give one");
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
  region.subject = fields.subject;
  if (!fields.box.empty()) region.box = naming(where, [&] { return make_box(fields.box, canvas); });
  if (has_polygon) region.polygon = polygon_of(fields.polygon, where, canvas);
  if (has_drawing) region.drawing = drawing_of(fields.drawing, where, canvas);
}

Region region_from_json(const Json& json, const std::string& where, Canvas canvas) {
  check_object(json, where, "a region, its prompt and its box for example");
  RegionFields fields;
  read_options(json, where, fields);
  check(!trimmed(fields.prompt).empty() || !trimmed(fields.subject).empty(),
        where + " has no prompt, and no subject of the context's");
  check_weight(fields.weight, where);
  Region region{fields.prompt, fields.negative_prompt, {}, fields.weight};
  place_region(fields, where, canvas, region);
  refuse_empty(json, where);
  return region;
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
  if (fields.height < 0 || fields.width < 0) {
    throw Error(ErrorKind::kUsage, fmt::format("{}: height {} and width {} must be at least 1",
                                               origin, fields.height, fields.width));
  }
  if ((fields.height > 0) != (fields.width > 0)) {
    throw Error(ErrorKind::kUsage, origin + " names only one of height and width; give both");
  }
}

Json numbers_of(const Box& box) { return {box.top, box.left, box.bottom, box.right}; }

Json strokes_to_json(const std::vector<Stroke>& strokes) {
  Json list = Json::array();
  for (const auto& stroke : strokes) {
    Json points = Json::array();
    for (const auto& [top, left] : stroke.points) points.push_back({top, left});
    list.push_back({{"points", points}, {"width", stroke.width}, {"erase", stroke.erase}});
  }
  return list;
}

/// Only what is not usual: scenes recorded before there was more are the same bytes.
Json region_to_json(const Region& region) {
  Json json = {{"prompt", region.prompt}, {"negative_prompt", region.negative_prompt}};
  if (!region.mask.empty()) {
    json["mask"] = region.mask;
    json["mask_sha256"] = region.mask_sha256;
  } else if (!region.polygon.empty()) {
    json["polygon"] = Json::array();
    for (const auto& [top, left] : region.polygon) json["polygon"].push_back({top, left});
  } else if (!region.drawing.empty()) {
    json["drawing"] = strokes_to_json(region.drawing);
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
  if (!region.subject.empty()) json["subject"] = region.subject;
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

Scene scene_from_json(const Json& json, const std::string& origin, Canvas fallback) {
  check_object(json, origin, "a scene, its prompt and its regions for example");
  SceneFields fields;
  read_options(json, origin, fields);
  check_rules(fields, origin);
  Scene scene{fields.prompt, fields.negative_prompt, {}, std::nullopt, {}};
  scene.root_prompt = fields.root_prompt;
  scene.root_negative_prompt = fields.root_negative_prompt;
  scene.overlap = fields.overlap;
  scene.base_ratio = fields.base_ratio;
  scene.isolate = fields.isolate;
  if (fields.height > 0) scene.canvas = Canvas{fields.height, fields.width};
  if (!fields.regions.is_array()) {
    throw Error(ErrorKind::kUsage, origin + ": \"regions\" must be a list");
  }
  const auto canvas = scene.canvas.value_or(fallback);
  for (const auto& entry : fields.regions) {
    const auto where = fmt::format("{}: region {}", origin, scene.regions.size() + 1);
    scene.regions.push_back(naming(where, [&] { return region_from_json(entry, where, canvas); }));
  }
  if (!fields.conditions.is_array()) {
    throw Error(ErrorKind::kUsage, origin + ": \"conditions\" must be a list");
  }
  for (const auto& entry : fields.conditions) {
    const auto where = fmt::format("{}: condition {}", origin, scene.conditions.size() + 1);
    scene.conditions.push_back(
        naming(where, [&] { return condition_from_json(entry, where, canvas); }));
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

}  // namespace mos::region
