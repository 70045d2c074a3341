#include "mos/world/layout.h"

#include <algorithm>
#include <array>

namespace mos::world {
namespace {

constexpr double kLowestFeet = 0.965;         // shares of the picture's height
constexpr double kHighestFeet = 0.84;         // on the ground of a scene
constexpr double kAside = 0.10;               // single subjects at one side, on a square
constexpr double kAsideOnWide = 0.55;         // the same, or in the middle, on wide canvases
constexpr double kSmall = 0.10, kBig = 0.12;  // single subjects of unusual size
constexpr double kUnlikePair = 0.12;          // pairs of a small and a big one
constexpr double kSizeNamed = 0.8;            // of the unusual sizes
constexpr double kSmallScale = 0.62;

int other_than(const std::vector<CaptionSubject>& taken, int count, Rng& rng) {
  const auto is_taken = [&taken](int candidate) {
    return std::any_of(taken.begin(), taken.end(),
                       [candidate](const auto& s) { return s.class_index == candidate; });
  };
  int candidate = rng.below(count);
  if (count > static_cast<int>(taken.size())) {
    while (is_taken(candidate)) candidate = (candidate + 1) % count;
  }
  return candidate;
}

/// An index drawn by shares.
template <typename Shares, typename Share>
int drawn(const Shares& shares, Share share, Rng& rng) {
  double sum = 0.0;
  for (const auto& entry : shares) sum += share(entry);
  double rest = rng.uniform() * sum;
  int index = 0;
  for (const auto& entry : shares) {
    rest -= share(entry);
    if (rest < 0.0) break;
    ++index;
  }
  return std::min(index, static_cast<int>(shares.size()) - 1);
}

SideWord random_side(const CanvasKind& canvas, Rng& rng) {
  const bool wide = canvas.width > canvas.height;
  if (canvas.height > canvas.width || !rng.chance(wide ? kAsideOnWide : kAside)) {
    return SideWord::kNone;
  }
  const double draw = rng.uniform();
  if (wide && draw < 0.25) return SideWord::kMiddle;
  return rng.chance(0.5) ? SideWord::kLeft : SideWord::kRight;
}

/// How large subjects are, by words that a caption may or may not say.
SizeWord random_size(Rng& rng) {
  const double draw = rng.uniform();
  return draw < kSmall ? SizeWord::kSmall : draw < kSmall + kBig ? SizeWord::kBig : SizeWord::kNone;
}

void choose_sizes(CaptionSpec& spec, Rng& rng) {
  auto& subjects = spec.subjects;
  if (subjects.size() == 1) subjects[0].size = random_size(rng);
  if (subjects.size() == 2 && rng.chance(kUnlikePair)) {
    const auto small = static_cast<std::size_t>(rng.below(2));
    subjects[small].size = SizeWord::kSmall;
    subjects[1 - small].size = SizeWord::kBig;
  }
}

CaptionSpec random_caption(const World& world, const CanvasKind& canvas, Rng& rng) {
  CaptionSpec spec;
  const int count = drawn(
      canvas.subjects, [](double share) { return share; }, rng);
  for (int i = 0; i < count; ++i) {
    const auto classes = static_cast<int>(world.classes.size());
    spec.subjects.push_back({.class_index = other_than(spec.subjects, classes, rng)});
  }
  spec.style = drawn(
      world.styles, [](const Style& style) { return style.share; }, rng);
  if (count == 1) spec.subjects[0].side = random_side(canvas, rng);
  const bool plain = rng.chance(world.options.plain_background);
  spec.background = plain ? BackgroundKind::kColour : BackgroundKind::kScene;
  spec.background_index =
      rng.below(static_cast<int>(plain ? world.colours.size() : world.scenes.size()));
  choose_sizes(spec, rng);
  choose_words(world, spec, rng);
  return spec;
}

/// The piece of the canvas that one subject has for itself.
struct Slot {
  double centre = 0.5, width = 1.0;
};

Slot slot_of(const CaptionSpec& spec, std::size_t which, double width) {
  if (spec.subjects.size() > 1) {
    const double own = width / static_cast<double>(spec.subjects.size());
    return {own * (static_cast<double>(which) + 0.5), own};
  }
  const double own = std::max(0.5 * width, std::min(width, 0.9));
  switch (spec.subjects[0].side) {
    case SideWord::kLeft:
      return width > 1.0 ? Slot{0.27 * width, 0.54 * width} : Slot{0.26, 0.5};
    case SideWord::kRight:
      return width > 1.0 ? Slot{0.73 * width, 0.54 * width} : Slot{0.74, 0.5};
    case SideWord::kMiddle:
      return {0.5 * width, own};
    case SideWord::kNone:
      break;
  }
  return {0.5 * width, width};
}

double random_height(const Slot& slot, SizeWord size, const CanvasKind& canvas, Rng& rng) {
  const double tall = 0.3 * (canvas.height - std::min(canvas.height, canvas.width));
  const double most = std::min(0.88, 0.46 + 0.42 * slot.width) + tall;
  const double height = rng.range(most - 0.22, most);
  switch (size) {
    case SizeWord::kSmall:
      return kSmallScale * height;
    case SizeWord::kBig:
      return most + rng.range(0.0, 0.07);
    case SizeWord::kNone:
      break;
  }
  return height;
}

/// Feet of a subject: on the ground of a scene, around the middle of a plain colour. `ground` is
/// the share of the way down that all subjects of a picture have in common.
double random_feet(const CaptionSpec& spec, double height, double ground, Rng& rng,
                   const CanvasKind& canvas) {
  const double lowest = kLowestFeet * canvas.height;
  if (spec.background == BackgroundKind::kColour) {
    const double centred = 0.5 * (canvas.height + height) + 0.06 * ground;
    return std::clamp(centred + rng.range(-0.02, 0.03), std::min(lowest, height + 0.01), lowest);
  }
  const double highest = std::max(kHighestFeet * canvas.height, std::min(lowest, height + 0.02));
  const double share = std::clamp(ground + rng.range(-0.15, 0.15), 0.0, 1.0);
  return highest + share * (lowest - highest);
}

}  // namespace

Layout arrange(const World& world, const CaptionSpec& spec, std::size_t canvas, Rng& rng) {
  const auto& kind = world.canvases.at(canvas);
  Layout layout{.caption = spec, .placements = {}, .canvas = canvas, .background_key = rng.next()};
  const double ground = rng.uniform();
  for (std::size_t i = 0; i < spec.subjects.size(); ++i) {
    const auto slot = slot_of(spec, i, kind.width);
    const bool alone = spec.subjects.size() == 1;
    Placement place;
    place.height = random_height(slot, spec.subjects[i].size, kind, rng);
    place.max_width = std::min((alone ? 0.92 : 0.95) * slot.width, 1.6);
    place.x = slot.centre + slot.width * rng.range(-0.06, 0.06);
    place.flip = rng.chance(0.5);
    const double turn = world.options.rotation_degrees;
    if (turn > 0.0) place.degrees = rng.range(-turn, turn);
    place.feet = random_feet(spec, place.height, ground, rng, kind);
    layout.placements.push_back(place);
  }
  return layout;
}

Layout layout_of(const World& world, const PictureKey& key) {
  Rng rng(static_cast<std::uint64_t>(world.options.seed), key.split,
          key.index | (static_cast<std::uint64_t>(key.canvas) << 48));
  auto layout =
      arrange(world, random_caption(world, world.canvases.at(key.canvas), rng), key.canvas, rng);
  for (auto& subject : layout.caption.subjects) {  // what is drawn need not be said
    if (!rng.chance(kSizeNamed)) subject.size = SizeWord::kNone;
  }
  return layout;
}

}  // namespace mos::world
