#include <fmt/core.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "mos/base/error.h"
#include "mos/region/foreign_options.h"
#include "mos/text/foreign_prompt.h"

/// What InvokeAI 4 and later write into their PNGs: options by name, and the canvas with its
/// layers.
namespace mos::region {
namespace {

using Sentences = std::vector<std::string>;

/// A member, which is null or absent in records of other versions. One of another type is said to
/// be left out.
template <typename T>
T member(const Json& object, const char* name, T fallback, Sentences& left_out) {
  const auto found = object.is_object() ? object.find(name) : object.end();
  if (!object.is_object() || found == object.end() || found->is_null()) return fallback;
  T value{};
  if (assign_json(*found, value)) return value;
  left_out.push_back(
      fmt::format("{}, which is {}, expected {}", name, quoted(*found), json_type_name(value)));
  return fallback;
}

const Json& child(const Json& object, const char* name) {
  static const Json none;
  const auto found = object.is_object() ? object.find(name) : object.end();
  return object.is_object() && found != object.end() ? *found : none;
}

/// Shapes of a layer in fractions of the canvas.
class LayerShapes {
 public:
  LayerShapes(const Json& layer, double height, double width)
      : top_(member(child(layer, "position"), "y", 0.0, left_out_)),
        left_(member(child(layer, "position"), "x", 0.0, left_out_)),
        height_(height),
        width_(width) {
    const auto& objects = child(layer, "objects");
    if (!objects.is_array()) return;
    for (const auto& object : objects) add(object);
  }

  const Json& strokes() const { return strokes_; }
  const Sentences& left_out() const { return left_out_; }

 private:
  Json point(double x, double y) const {
    const auto share = [](double value) { return std::clamp(value, 0.0, 1.0); };
    return {share((y + top_) / height_), share((x + left_) / width_)};
  }

  void add(const Json& object) {
    const auto kind = member<std::string>(object, "type", "", left_out_);
    if (kind == "rect") return add_rect(child(object, "rect"));
    const bool pressure = kind.ends_with("_with_pressure");
    const bool erase = kind.starts_with("eraser_line");
    if (erase || kind.starts_with("brush_line")) return add_line(object, pressure ? 3 : 2, erase);
    left_out_.push_back(kind.empty() ? "a shape" : "a shape of the kind " + kind);
  }

  void add_rect(const Json& rect) {
    const auto number = [&](const char* name) { return member(rect, name, 0.0, left_out_); };
    const double x = number("x"), y = number("y");
    const double right = x + number("width"), bottom = y + number("height");
    strokes_.push_back(
        {{"points", {point(x, y), point(right, y), point(right, bottom), point(x, bottom)}}});
  }

  /// `stride` numbers for each point; pressure is not read.
  void add_line(const Json& object, std::size_t stride, bool erase) {
    const auto numbers = member<std::vector<double>>(object, "points", {}, left_out_);
    auto points = Json::array();
    for (std::size_t i = 0; i + stride <= numbers.size(); i += stride) {
      points.push_back(point(numbers[i], numbers[i + 1]));
    }
    const double width = member(object, "strokeWidth", 1.0, left_out_) / height_;
    if (points.empty() || width <= 0) {
      left_out_.push_back("a line without points or without a width");
      return;
    }
    strokes_.push_back({{"points", points}, {"width", std::min(width, 1.0)}, {"erase", erase}});
  }

  Sentences left_out_;  // first: the others are read with it
  double top_, left_, height_, width_;
  Json strokes_ = Json::array();
};

void take_region(const Json& layer, ForeignRecord& record, Json& regions) {
  if (!member(layer, "isEnabled", true, record.left_out)) return;
  const auto text = [&](const char* key) {
    return member<std::string>(layer, key, "", record.left_out);
  };
  const auto prompt = trimmed(text("positivePrompt")), name = text("name");
  const auto called = fmt::format("the region \"{}\"", name.empty() ? prompt : name);
  const auto leave_out = [&](const std::string& what) {
    record.left_out.push_back(fmt::format("{}: {}", called, what));
  };
  const auto height = static_cast<double>(record.options.height);
  const auto width = static_cast<double>(record.options.width);
  const LayerShapes shapes(layer, height, width);
  for (const auto& what : shapes.left_out()) leave_out(what);
  if (member(layer, "autoNegative", false, record.left_out)) leave_out("its auto-negative");
  const auto& pictures = child(layer, "referenceImages");
  if (pictures.is_array() && !pictures.empty()) leave_out("its reference images");
  if (prompt.empty() || shapes.strokes().empty()) {
    return leave_out(prompt.empty() ? "it has no prompt" : "nothing is drawn in it");
  }
  Json region = {{"prompt", prompt},
                 {"negative_prompt", text("negativePrompt")},
                 {"drawing", shapes.strokes()}};
  if (!name.empty()) region["name"] = name;
  regions.push_back(std::move(region));
}

/// Regions read the global prompts beside their own.
void take_regions(const Json& metadata, ForeignRecord& record) {
  const auto& of_canvas = child(child(metadata, "canvas_v2_metadata"), "regionalGuidance");
  const auto& layers = of_canvas.is_array() ? of_canvas : child(metadata, "regions");
  if (!layers.is_array() || layers.empty()) return;
  if (record.options.height <= 0 || record.options.width <= 0) {
    record.left_out.push_back("regions of a canvas without a size");
    return;
  }
  auto regions = Json::array();
  for (const auto& layer : layers) take_region(layer, record, regions);
  if (regions.empty()) return;
  record.left_out.push_back(
      "where the canvas' frame lay, which is not in the picture: regions are read as if it began "
      "at 0, 0");
  record.scene["regions"] = std::move(regions);
  record.scene["root_prompt"] = record.prompt;
  record.prompt.clear();
  move_negative_to_root(record);
}

void take_loras(const Json& metadata, ForeignRecord& record) {
  const auto& loras = child(metadata, "loras");
  if (!loras.is_array()) return;
  auto& left_out = record.left_out;
  for (const auto& lora : loras) {
    const auto name = member<std::string>(child(lora, "model"), "name", "unnamed", left_out);
    record.loras.push_back({name, member(lora, "weight", 1.0, left_out)});
  }
}

/// One number, or one for each step: a guidance that changes on the way becomes its mean.
void take_guidance(const Json& metadata, ForeignRecord& record) {
  auto& scale = record.options.guidance_scale;
  const auto& given = child(metadata, "cfg_scale");
  if (!given.is_array()) {
    scale = member(metadata, "cfg_scale", scale, record.left_out);
    return;
  }
  const auto scales = member<std::vector<double>>(metadata, "cfg_scale", {}, record.left_out);
  if (scales.empty()) return;
  const auto [least, most] = std::minmax_element(scales.begin(), scales.end());
  scale = std::accumulate(scales.begin(), scales.end(), 0.0) / static_cast<double>(scales.size());
  if (*least == *most) {
    scale = *least;
    return;
  }
  record.left_out.push_back(
      fmt::format("that cfg_scale goes from {} to {} over the steps (lowest {}, highest {}): here "
                  "it is the mean, {:.4g}, in all of them",
                  scales.front(), scales.back(), *least, *most, scale));
}

/// Says what of compel's syntax does something else here.
void name_weighted(ForeignRecord& record) {
  std::vector<std::string> prompts = {record.prompt, record.negative_prompt};
  for (const char* key : {"root_prompt", "root_negative_prompt"}) {
    prompts.push_back(json_value<std::string>(record.scene, key, ""));
  }
  for (const auto& region : child(record.scene, "regions")) {
    prompts.push_back(region.at("prompt").get<std::string>());
    prompts.push_back(region.at("negative_prompt").get<std::string>());
  }
  if (std::ranges::any_of(prompts, [](const auto& prompt) {
        return text::has_weights(prompt, text::parse_compel);
      })) {
    name_weights(record);
  }
  for (const std::string_view call :
       {".swap(", ".blend(", ".and(", ".attend(", "withLora(", "useLora("}) {
    const auto has_call = [call](const auto& prompt) { return prompt.find(call) != prompt.npos; };
    if (!std::ranges::any_of(prompts, has_call)) continue;
    record.left_out.push_back(fmt::format("\"{})\" of a prompt, which is text here", call));
  }
}

void name_the_rest(const Json& metadata, ForeignRecord& record) {
  static const std::set<std::string> known = {"generation_mode", "positive_prompt",
                                              "negative_prompt", "width",
                                              "height",          "seed",
                                              "cfg_scale",       "cfg_rescale_multiplier",
                                              "steps",           "scheduler",
                                              "clip_skip",       "rand_device",
                                              "model",           "loras",
                                              "regions",         "canvas_v2_metadata",
                                              "app_version"};
  for (const auto& [key, value] : metadata.items()) {
    const bool is_empty =
        value.is_null() || value == false || (value.is_structured() && value.empty());
    if (!known.contains(key) && !is_empty) {
      record.left_out.push_back(fmt::format("{}: {}", key, quoted(value)));
    }
  }
}

}  // namespace

ForeignRecord read_invokeai_metadata(const std::string& text, const std::string& origin) {
  const auto metadata = parse_json(text, origin);
  if (!metadata.is_object()) throw Error(ErrorKind::kFormat, origin + " is no JSON object");
  ForeignRecord record;
  auto& options = record.options;
  const auto value = [&](const char* name, auto fallback) {
    return member(metadata, name, fallback, record.left_out);
  };
  record.prompt = value("positive_prompt", std::string());
  record.negative_prompt = value("negative_prompt", std::string());
  options.width = value("width", options.width);
  options.height = value("height", options.height);
  options.seed = value("seed", options.seed);
  options.steps = value("steps", options.steps);
  take_guidance(metadata, record);
  options.sampler.guidance_rescale = value("cfg_rescale_multiplier", 0.0);
  take_skipped_layers(value("clip_skip", std::int64_t{0}), record);
  if (value("rand_device", std::string("cpu")) != "cpu") options.sampler.noise = "a1111";
  take_scheduler(value("scheduler", std::string("euler")), record);
  if (options.sampler.sigmas == "automatic") options.sampler.sigmas = "";  // diffusers' own there
  record.model = member<std::string>(child(metadata, "model"), "name", "", record.left_out);
  take_regions(metadata, record);
  take_loras(metadata, record);
  name_weighted(record);
  rewrite_prompts(record, text::from_compel, text::from_compel);
  name_the_rest(metadata, record);
  return record;
}

}  // namespace mos::region
