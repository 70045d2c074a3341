#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "mos/base/counts.h"

/// The small world that the embedded base model is pretrained on: subjects cut from artwork, in
/// scenes that are drawn, with captions and masks that are known by construction.
namespace mos::world {

enum class Category { kAnimal, kPerson, kFood, kPlant, kVehicle, kBuilding, kThing };

/// One kind of subject. `name` is the word of the captions, one token of the vocabulary, and the
/// name of the sprite file of every style.
struct SubjectClass {
  std::string name;
  Category category = Category::kThing;
};

/// How the subjects of a picture are drawn: "3d" in "a 3d picture of a lion".
struct Style {
  std::string name;
  std::string folder;  ///< Of its sprites.
  double share = 1.0;  ///< How often it is drawn, beside the other styles' shares.
  double named = 0.5;  ///< Share of its captions that name it.
};

enum class SceneKind {
  kBeach,
  kForest,
  kMountains,
  kCity,
  kNight,
  kSnow,
  kDesert,
  kMeadow,
  kLake,
  kRoom,
  kSea,
  kSunset,
  kLavender,  ///< Only of the sample concepts; no world contains it.
};

struct Scene {
  SceneKind kind = SceneKind::kBeach;
  std::string name;    ///< "beach": one token.
  std::string phrase;  ///< "on the beach": follows the subjects.
};

using Rgb = std::array<float, 3>;  ///< 0…1.

struct Colour {
  std::string name;  ///< "red": one token.
  Rgb rgb{};
};

/// A kind of canvas. Sides are multiples of WorldOptions::size.
struct CanvasKind {
  double height = 1.0;
  double width = 1.0;
  double share = 1.0;  ///< Of all pictures, beside the other kinds' shares.
  std::array<double, 4> subjects{0.0, 1.0, 0.0, 0.0};  ///< Shares of pictures with 0 to 3 subjects.
};

/// How large the world is and how its pictures are laid out.
struct WorldOptions {
  std::int64_t size = 128;         ///< Pixels of the shorter side.
  std::int64_t classes = 120;      ///< The first so many of the class list.
  std::int64_t styles = 2;         ///< The first so many of the style list.
  std::int64_t scenes = 12;        ///< The first so many of the scene list.
  std::int64_t colours = 10;       ///< The first so many of the colour list.
  std::int64_t canvases = 5;       ///< The first so many of the canvas list.
  double plain_background = 0.35;  ///< Share of pictures on a plain colour instead of a scene.
  double rotation_degrees = 0.0;   ///< Subjects are turned by up to so much.
  std::int64_t seed = 1;           ///< Another seed, other pictures.
};

template <class Visitor>
void describe(Visitor& visit, WorldOptions& options) {
  visit("size", options.size, "pixels of the shorter side of the pictures", between(16, 4096));
  visit("classes", options.classes, "kinds of subjects", at_least(1));
  visit("styles", options.styles, "styles that subjects are drawn in", at_least(1));
  visit("scenes", options.scenes, "kinds of scenes", at_least(1));
  visit("colours", options.colours, "plain background colours", at_least(1));
  visit("canvases", options.canvases, "kinds of canvases, the square one first", at_least(1));
  visit("plain_background", options.plain_background, "share of pictures on a plain colour",
        between(0, 1));
  visit("rotation_degrees", options.rotation_degrees, "greatest rotation of a subject",
        between(0, 180));
  visit("seed", options.seed, "another seed, other pictures", count_of(0, kLargestSeed));
}

/// What can be in a picture, in a fixed order: growing a list never renumbers what was there.
struct World {
  WorldOptions options;
  std::vector<SubjectClass> classes;
  std::vector<Style> styles;
  std::vector<Scene> scenes;
  std::vector<Colour> colours;
  std::vector<CanvasKind> canvases;

  /// Rows and columns of a canvas in pixels.
  std::array<std::int64_t, 2> pixels(std::size_t canvas) const;
};

/// The world of `options`. Throws kUsage when it asks for more than there is, or for shares outside
/// 0…1.
World make_world(const WorldOptions& options = {});

/// Everything a world can grow to.
const std::vector<SubjectClass>& all_classes();
const std::vector<Style>& all_styles();
const std::vector<Scene>& all_scenes();
const std::vector<Colour>& all_colours();
const std::vector<CanvasKind>& all_canvases();

/// Subjects and scenes that stay unseen by pretraining and by the sample concepts, so that they can
/// serve as fresh concepts in evaluations.
const std::vector<std::string>& reserved_subjects();

}  // namespace mos::world
