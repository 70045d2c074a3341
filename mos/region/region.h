#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "mos/base/json.h"

/// Regionally controllable sampling (paper, section 3.4): what is painted where.
namespace mos::region {

/// Part of the canvas as fractions of its height and width, half-open.
struct Box {
  double top = 0.0, left = 0.0, bottom = 1.0, right = 1.0;
};

/// The positions of a feature map inside a box, half-open.
struct FeatureBox {
  std::int64_t top = 0, left = 0, bottom = 0, right = 0;
  bool empty() const { return top >= bottom || left >= right; }
};

/// `box` on features of height × width: ceil for the near edges, floor for the far ones, so that
/// no position is taken that lies partly outside (reference: RegionT2I_AttnProcessor). An edge that
/// is between two positions but for the rounding of its fraction is there.
FeatureBox on_features(const Box& box, std::int64_t height, std::int64_t width);

/// A place on the canvas as fractions of its height and width.
struct Point {
  double top = 0.0, left = 0.0;
};

/// A line of a round brush, or an area.
struct Stroke {
  std::vector<Point> points;
  double width = 0.0;  ///< As a share of the canvas' height; 0: the area inside the points.
  bool erase = false;  ///< Takes away from what the strokes before it have drawn.
};

struct Region {
  std::string prompt;
  std::string negative_prompt;
  Box box;
  /// 1 replaces the context inside the box, as in the paper; less leaves that share of it.
  double weight = 1.0;
  std::string name;               ///< What --redo-region calls it; empty: its number.
  std::string mask;               ///< A picture instead of the box: grey is weight.
  std::string mask_sha256;        ///< Of recorded scenes; else empty.
  std::vector<Point> polygon;     ///< Corners instead of the box, at least three.
  bool background = false;        ///< Wherever no other region is, instead of the box.
  double feather = 0.0;           ///< Pixels over which its edge is softened.
  double start = 0.0, end = 1.0;  ///< Share of the steps before it begins and when it ends.
  std::vector<Stroke> drawing;    ///< Instead of the box.
  /// Which words of its prompt are its subject; empty: the concept words there. A region without a
  /// prompt reads the context's, but for the subjects of the other regions.
  std::string subject;

  /// Whether it is a box with a hard edge.
  bool is_hard_box() const {
    return mask.empty() && polygon.empty() && drawing.empty() && !background && feather == 0.0;
  }
  /// Whether it is one in every step, as in the paper.
  bool is_plain_box() const { return is_hard_box() && start == 0.0 && end == 1.0; }
};

struct BoxWeight {
  Box box;
  double weight = 1.0;
};

/// A picture that says where things are, and the network that reads it.
struct Condition {
  std::string adapter;  ///< T2I-Adapter or ControlNet: a diffusers folder or a file.
  std::string picture;  ///< A file.
  std::string adapter_sha256, picture_sha256;  ///< Of recorded scenes; else empty.
  double weight = 1.0;                         ///< Factor on its features.
  std::vector<BoxWeight> boxes;                ///< Other factors inside these boxes.
  /// Share of the steps before it begins and when it ends.
  double start = 0.0, end = 1.0;
  /// ControlNet only: steers without a prompt, finer levels less (diffusers' guess_mode).
  bool guess_mode = false;
};

struct Canvas {
  std::int64_t height = 0, width = 0;  ///< Pixels.
};

/// Everything that a regional picture says in words: context and regions.
struct Scene {
  std::string prompt;  ///< The context, for the whole canvas.
  std::string negative_prompt;
  std::vector<Region> regions;
  std::optional<Canvas> canvas;  ///< When the file names its size.
  std::vector<Condition> conditions;
  /// Stand before the prompts and negative prompts of the context and of every region.
  std::string root_prompt, root_negative_prompt;
  std::string overlap = "mean";  ///< mean, as the paper, or front: the first in the list covers.
  double base_ratio = 0.0;       ///< Share of the context's attention inside every region.
  bool isolate = false;          ///< Regions do not see each other in self-attention.

  /// Whether the paper's rules are all that it needs: boxes, and the mean where they overlap.
  bool is_plain() const;
};

/// A box from four numbers top, left, bottom, right: fractions when all are at most 1, else pixels.
/// Throws kUsage if it has no area or reaches outside the canvas.
Box make_box(const std::vector<double>& numbers, Canvas canvas);

/// {"prompt", "negative_prompt", "height", "width", "regions": [{"prompt", "negative_prompt",
/// "box": [top, left, bottom, right], "weight", …}], "conditions": [{"adapter", "picture",
/// "weight", "boxes": [{"box", "weight"}], "start", "end", "guess_mode"}]}. Throws kUsage on
/// unknown keys, bad boxes or numbers, a region without a prompt, a condition without adapter or
/// picture. `fallback` is the canvas when the file names none.
Scene scene_from_json(const Json& json, const std::string& origin, Canvas fallback);
Json scene_to_json(const Scene& scene);

/// The authors' string: `[prompt]-*-[negative]-*-[top, left, bottom, right]`, regions separated by
/// `|`, boxes in pixels. Throws kUsage naming the part that is wrong.
std::vector<Region> parse_prompt_rewrite(const std::string& text, Canvas canvas);

/// The authors' string of weights by box: `[top, left, bottom, right]-weight`, separated by `|`,
/// boxes in pixels; none where nothing is in it, which is the authors' default. Throws kUsage
/// naming the part that is wrong.
std::vector<BoxWeight> parse_box_weights(const std::string& text, Canvas canvas);

/// Throws kUsage naming what is impossible in `condition`, as `where`.
void check_condition(const Condition& condition, const std::string& where);

}  // namespace mos::region
