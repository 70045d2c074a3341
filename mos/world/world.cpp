#include "mos/world/world.h"

#include <fmt/core.h>

#include "mos/base/error.h"

namespace mos::world {
namespace {

template <typename T>
std::vector<T> first(const std::vector<T>& list, std::int64_t count, const char* what) {
  if (count < 1 || count > static_cast<std::int64_t>(list.size())) {
    throw Error(ErrorKind::kUsage,
                fmt::format("a world with {} {} was asked for, but it can have 1 to {}", count,
                            what, list.size()));
  }
  return {list.begin(), list.begin() + count};
}

void check_share(double value, const char* name) {
  if (value >= 0.0 && value <= 1.0) return;
  throw Error(ErrorKind::kUsage,
              fmt::format("the world's option {} is {}, but must be within 0 and 1", name, value));
}

void check_heights(double low, double high, const char* name) {
  if (low > 0.0 && low <= high && high < 1.0) return;
  throw Error(ErrorKind::kUsage,
              fmt::format("the world's heights {}_min {} and {}_max {} must rise within 0 and 1",
                          name, low, name, high));
}

}  // namespace

const std::vector<SubjectClass>& all_classes() {
  using enum Category;
  // The first 32 differ most in silhouette and colour; the order is part of the data's definition.
  static const std::vector<SubjectClass> classes = {
      {"lion", kAnimal},      {"panda", kAnimal},    {"penguin", kAnimal},
      {"cat", kAnimal},       {"bear", kAnimal},     {"rabbit", kAnimal},
      {"pig", kAnimal},       {"elephant", kAnimal}, {"frog", kAnimal},
      {"owl", kAnimal},       {"fish", kAnimal},     {"octopus", kAnimal},
      {"turtle", kAnimal},    {"man", kPerson},      {"woman", kPerson},
      {"princess", kPerson},  {"chef", kPerson},     {"robot", kThing},
      {"ghost", kThing},      {"snowman", kThing},   {"castle", kBuilding},
      {"house", kBuilding},   {"tree", kPlant},      {"flower", kPlant},
      {"mushroom", kPlant},   {"apple", kFood},      {"hamburger", kFood},
      {"cake", kFood},        {"car", kVehicle},     {"bus", kVehicle},
      {"rocket", kVehicle},   {"guitar", kThing},

      {"dog", kAnimal},       {"fox", kAnimal},      {"tiger", kAnimal},
      {"cow", kAnimal},       {"duck", kAnimal},     {"rooster", kAnimal},
      {"crab", kAnimal},      {"whale", kAnimal},    {"dinosaur", kAnimal},
      {"dragon", kAnimal},    {"unicorn", kAnimal},  {"horse", kAnimal},
      {"butterfly", kAnimal}, {"alien", kPerson},    {"astronaut", kPerson},
      {"cactus", kPlant},     {"banana", kFood},     {"strawberry", kFood},
      {"pizza", kFood},       {"pumpkin", kFood},    {"truck", kVehicle},
      {"train", kVehicle},    {"boat", kVehicle},    {"helicopter", kVehicle},
      {"airplane", kVehicle}, {"tractor", kVehicle}, {"drum", kThing},
      {"trumpet", kThing},    {"ball", kThing},      {"clock", kThing},
      {"umbrella", kThing},   {"camera", kThing},    {"balloon", kThing},
      {"gift", kThing},       {"cup", kThing},       {"tent", kBuilding},

      {"monkey", kAnimal},    {"koala", kAnimal},    {"hedgehog", kAnimal},
      {"snail", kAnimal},     {"bee", kAnimal},      {"watermelon", kFood},
      {"pineapple", kFood},   {"cupcake", kFood},    {"donut", kFood},
      {"bicycle", kVehicle},  {"violin", kThing},    {"bell", kThing},
      {"crown", kThing},      {"chair", kThing},
  };
  return classes;
}

const std::vector<Scene>& all_scenes() {
  static const std::vector<Scene> scenes = {
      {SceneKind::kBeach, "beach", "on the beach"},
      {SceneKind::kForest, "forest", "in the forest"},
      {SceneKind::kMountains, "mountains", "in the mountains"},
      {SceneKind::kCity, "city", "in the city"},
      {SceneKind::kNight, "night", "at night"},
      {SceneKind::kSnow, "snow", "in the snow"},
      {SceneKind::kDesert, "desert", "in the desert"},
      {SceneKind::kMeadow, "meadow", "in a meadow"},
      {SceneKind::kLake, "lake", "by the lake"},
      {SceneKind::kRoom, "room", "in a room"},
      {SceneKind::kSea, "sea", "under the sea"},
      {SceneKind::kSunset, "sunset", "at sunset"},
  };
  return scenes;
}

const std::vector<Colour>& all_colours() {
  static const std::vector<Colour> colours = {
      {"red", {0.84f, 0.20f, 0.18f}},    {"blue", {0.20f, 0.36f, 0.82f}},
      {"green", {0.27f, 0.65f, 0.34f}},  {"yellow", {0.97f, 0.83f, 0.27f}},
      {"pink", {0.98f, 0.63f, 0.76f}},   {"purple", {0.52f, 0.30f, 0.70f}},
      {"white", {0.96f, 0.96f, 0.96f}},  {"gray", {0.55f, 0.56f, 0.58f}},
      {"orange", {0.97f, 0.56f, 0.20f}}, {"black", {0.09f, 0.09f, 0.11f}},
  };
  return colours;
}

const std::vector<std::string>& reserved_subjects() {
  static const std::vector<std::string> names = {
      "genie",  "supervillain", "guard",         "lobster",         "sauropod", "saxophone", "moai",
      "teapot", "mount fuji",   "desert island", "bridge at night", "volcano",  "candyland"};
  return names;
}

World make_world(const WorldOptions& options) {
  if (options.size < 16 || options.size > 4096) {
    throw Error(ErrorKind::kUsage, fmt::format("pictures of {} pixels were asked for, but a side "
                                               "has 16 to 4096",
                                               options.size));
  }
  check_share(options.no_subject, "no_subject");
  check_share(options.two_subjects, "two_subjects");
  check_share(options.no_subject + options.two_subjects, "no_subject + two_subjects");
  check_share(options.plain_background, "plain_background");
  check_share(options.aside, "aside");
  check_heights(options.one_height_min, options.one_height_max, "one_height");
  check_heights(options.two_height_min, options.two_height_max, "two_height");
  return {.options = options,
          .classes = first(all_classes(), options.classes, "classes"),
          .scenes = first(all_scenes(), options.scenes, "scenes"),
          .colours = first(all_colours(), options.colours, "colours")};
}

}  // namespace mos::world
