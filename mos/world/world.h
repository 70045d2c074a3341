#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

/// The small world that the embedded base model is pretrained on: subjects cut from artwork, in
/// scenes that are drawn, with captions and masks that are known by construction.
namespace mos::world {

enum class Category { kAnimal, kPerson, kFood, kPlant, kVehicle, kBuilding, kThing };

/// One kind of subject. `name` is the word of the captions, one token of the vocabulary, and the
/// name of the sprite file.
struct SubjectClass {
  std::string name;
  Category category = Category::kThing;
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

/// How large the world is and how its pictures are laid out.
struct WorldOptions {
  std::int64_t size = 128;         ///< Pixels of a side.
  std::int64_t classes = 32;       ///< The first so many of the class list.
  std::int64_t scenes = 8;         ///< The first so many of the scene list.
  std::int64_t colours = 8;        ///< The first so many of the colour list.
  double no_subject = 0.05;        ///< Share of pictures with a background only.
  double two_subjects = 0.45;      ///< Share of pictures with two subjects; the rest has one.
  double plain_background = 0.35;  ///< Share of pictures on a plain colour instead of a scene.
  double one_height_min = 0.60;    ///< Height of a single subject, as a share of the picture's.
  double one_height_max = 0.85;
  double two_height_min = 0.48;  ///< Height of each of two subjects.
  double two_height_max = 0.62;
  double aside = 0.10;  ///< Share of single subjects that are as small as one of two, on one side.
  double rotation_degrees = 0.0;  ///< Subjects are turned by up to so much.
  std::int64_t seed = 1;          ///< Another seed, other pictures.
};

template <class Visitor>
void describe(Visitor& visit, WorldOptions& options) {
  visit("size", options.size, "pixels of a side of the pictures");
  visit("classes", options.classes, "kinds of subjects");
  visit("scenes", options.scenes, "kinds of scenes");
  visit("colours", options.colours, "plain background colours");
  visit("no_subject", options.no_subject, "share of pictures without a subject");
  visit("two_subjects", options.two_subjects, "share of pictures with two subjects");
  visit("plain_background", options.plain_background, "share of pictures on a plain colour");
  visit("one_height_min", options.one_height_min, "least height of a single subject");
  visit("one_height_max", options.one_height_max, "greatest height of a single subject");
  visit("two_height_min", options.two_height_min, "least height of one of two subjects");
  visit("two_height_max", options.two_height_max, "greatest height of one of two subjects");
  visit("aside", options.aside, "share of single subjects that are small and on one side");
  visit("rotation_degrees", options.rotation_degrees, "greatest rotation of a subject");
  visit("seed", options.seed, "another seed, other pictures");
}

/// What can be in a picture, in a fixed order: growing a list never renumbers what was there.
struct World {
  WorldOptions options;
  std::vector<SubjectClass> classes;
  std::vector<Scene> scenes;
  std::vector<Colour> colours;
};

/// The world of `options`. Throws kUsage when it asks for more than there is, or for shares and
/// heights outside 0…1.
World make_world(const WorldOptions& options = {});

/// Everything a world can grow to.
const std::vector<SubjectClass>& all_classes();
const std::vector<Scene>& all_scenes();
const std::vector<Colour>& all_colours();

/// Subjects and scenes that stay unseen by pretraining and by the sample concepts, so that they can
/// serve as fresh concepts in evaluations.
const std::vector<std::string>& reserved_subjects();

}  // namespace mos::world
