#include "mos/world/world.h"

#include <fmt/core.h>

#include <cmath>

#include "mos/base/describe.h"
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

}  // namespace

const std::vector<SubjectClass>& all_classes() {
  using enum Category;
  // The first 120 are those that are told apart best at 60 pixels in every style; the order is part
  // of the data's definition.
  static const std::vector<SubjectClass> classes = {
      {"lion", kAnimal},        {"tiger", kAnimal},       {"panda", kAnimal},
      {"penguin", kAnimal},     {"cat", kAnimal},         {"dog", kAnimal},
      {"bear", kAnimal},        {"rabbit", kAnimal},      {"pig", kAnimal},
      {"elephant", kAnimal},    {"frog", kAnimal},        {"owl", kAnimal},
      {"fish", kAnimal},        {"octopus", kAnimal},     {"turtle", kAnimal},
      {"fox", kAnimal},         {"cow", kAnimal},         {"duck", kAnimal},
      {"rooster", kAnimal},     {"crab", kAnimal},        {"whale", kAnimal},
      {"dinosaur", kAnimal},    {"dragon", kAnimal},      {"unicorn", kAnimal},
      {"horse", kAnimal},       {"monkey", kAnimal},      {"koala", kAnimal},
      {"hedgehog", kAnimal},    {"snail", kAnimal},       {"bee", kAnimal},
      {"butterfly", kAnimal},   {"ladybug", kAnimal},     {"parrot", kAnimal},
      {"flamingo", kAnimal},    {"shark", kAnimal},       {"snake", kAnimal},
      {"giraffe", kAnimal},     {"zebra", kAnimal},       {"camel", kAnimal},
      {"sheep", kAnimal},       {"squirrel", kAnimal},    {"gorilla", kAnimal},
      {"man", kPerson},         {"woman", kPerson},       {"princess", kPerson},
      {"chef", kPerson},        {"astronaut", kPerson},   {"farmer", kPerson},
      {"firefighter", kPerson}, {"policeman", kPerson},   {"mermaid", kPerson},
      {"vampire", kPerson},     {"zombie", kPerson},      {"santa", kPerson},
      {"superhero", kPerson},   {"ninja", kPerson},       {"clown", kPerson},
      {"detective", kPerson},   {"robot", kPerson},       {"ghost", kPerson},
      {"alien", kPerson},       {"snowman", kPerson},     {"apple", kFood},
      {"banana", kFood},        {"strawberry", kFood},    {"watermelon", kFood},
      {"pineapple", kFood},     {"lemon", kFood},         {"avocado", kFood},
      {"carrot", kFood},        {"pretzel", kFood},       {"cheese", kFood},
      {"hamburger", kFood},     {"pizza", kFood},         {"donut", kFood},
      {"cake", kFood},          {"cupcake", kFood},       {"lollipop", kFood},
      {"tree", kPlant},         {"palm", kPlant},         {"cactus", kPlant},
      {"sunflower", kPlant},    {"rose", kPlant},         {"mushroom", kPlant},
      {"pumpkin", kPlant},      {"car", kVehicle},        {"bus", kVehicle},
      {"firetruck", kVehicle},  {"ambulance", kVehicle},  {"tractor", kVehicle},
      {"train", kVehicle},      {"motorcycle", kVehicle}, {"airplane", kVehicle},
      {"helicopter", kVehicle}, {"rocket", kVehicle},     {"sailboat", kVehicle},
      {"ship", kVehicle},       {"ufo", kVehicle},        {"castle", kBuilding},
      {"house", kBuilding},     {"church", kBuilding},    {"tent", kBuilding},
      {"tower", kBuilding},     {"pagoda", kBuilding},    {"statue", kBuilding},
      {"guitar", kThing},       {"violin", kThing},       {"drum", kThing},
      {"trumpet", kThing},      {"ball", kThing},         {"clock", kThing},
      {"umbrella", kThing},     {"camera", kThing},       {"balloon", kThing},
      {"gift", kThing},         {"bell", kThing},         {"crown", kThing},
      {"chair", kThing},        {"book", kThing},         {"telephone", kThing},
      {"chick", kAnimal},       {"swan", kAnimal},        {"dolphin", kAnimal},
      {"peacock", kAnimal},     {"mouse", kAnimal},       {"wolf", kAnimal},
      {"deer", kAnimal},        {"crocodile", kAnimal},   {"spider", kAnimal},
      {"kangaroo", kAnimal},    {"builder", kPerson},     {"cowboy", kPerson},
      {"skull", kPerson},       {"cherry", kFood},        {"croissant", kFood},
      {"taco", kFood},          {"popcorn", kFood},       {"tulip", kPlant},
      {"clover", kPlant},       {"taxi", kVehicle},       {"truck", kVehicle},
      {"bicycle", kVehicle},    {"scooter", kVehicle},    {"skateboard", kVehicle},
      {"fountain", kBuilding},  {"hut", kBuilding},       {"temple", kBuilding},
      {"factory", kBuilding},   {"basketball", kThing},   {"key", kThing},
      {"television", kThing},   {"backpack", kThing},     {"hat", kThing},
      {"diamond", kThing},      {"anchor", kThing},       {"trophy", kThing},
      {"bomb", kThing},         {"heart", kThing},        {"star", kThing},
      {"lantern", kThing},
  };
  return classes;
}

const std::vector<Style>& all_styles() {
  // What is not named is nearly always the first.
  static const std::vector<Style> styles = {
      {.name = "3d", .folder = "fluent", .share = 0.6, .named = 0.5},
      {.name = "cartoon", .folder = "noto", .share = 0.4, .named = 0.9},
      {.name = "flat", .folder = "flat", .share = 0.3, .named = 0.9},
  };
  return styles;
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

const std::vector<CanvasKind>& all_canvases() {
  static const std::vector<CanvasKind> canvases = {
      {.height = 1.0, .width = 1.0, .share = 0.50, .subjects = {0.05, 0.70, 0.25, 0.0}},
      {.height = 1.0, .width = 1.5, .share = 0.15, .subjects = {0.05, 0.25, 0.65, 0.05}},
      {.height = 1.0, .width = 2.0, .share = 0.14, .subjects = {0.04, 0.16, 0.50, 0.30}},
      {.height = 1.0, .width = 3.0, .share = 0.13, .subjects = {0.04, 0.08, 0.18, 0.70}},
      {.height = 1.5, .width = 1.0, .share = 0.08, .subjects = {0.06, 0.74, 0.20, 0.0}},
  };
  return canvases;
}

const std::vector<std::string>& reserved_subjects() {
  static const std::vector<std::string> names = {
      "genie", "supervillain", "guard", "lobster", "sauropod", "saxophone", "moai", "teapot",
      "mount fuji", "desert island", "bridge at night", "volcano", "candyland",
      // Beside these, what mos study draws:
      "villain", "galaxy", "bridge", "fairy", "accordion", "matryoshka", "sunrise", "elf",
      "carousel", "slots", "skyline"};
  return names;
}

std::array<std::int64_t, 2> World::pixels(std::size_t canvas) const {
  const auto& kind = canvases.at(canvas);
  const auto length = [this](double share) {
    return std::llround(share * static_cast<double>(options.size));
  };
  return {length(kind.height), length(kind.width)};
}

World make_world(const WorldOptions& options) {
  check_fields(options);
  return {.options = options,
          .classes = first(all_classes(), options.classes, "classes"),
          .styles = first(all_styles(), options.styles, "styles"),
          .scenes = first(all_scenes(), options.scenes, "scenes"),
          .colours = first(all_colours(), options.colours, "colours"),
          .canvases = first(all_canvases(), options.canvases, "canvases")};
}

}  // namespace mos::world
