#include "mos/world/compositor.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "mos/io/image.h"
#include "mos/world/scenes.h"

namespace mos::world {
namespace {

constexpr double kMentionBackground = 0.85;  // the rest leaves it to the model
constexpr double kPrefix = 0.4;
constexpr double kSizeWord = 0.3;  // of the subjects that are clearly small or big

/// Two of the seven templates name no order, so each pair template gets its own share.
PairTemplate random_pair(Rng& rng) {
  const double draw = rng.uniform();
  if (draw < 0.4) return PairTemplate::kBothSides;
  if (draw < 0.6) return PairTemplate::kLeftOf;
  if (draw < 0.8) return PairTemplate::kRightOf;
  return static_cast<PairTemplate>(3 + rng.below(kPairTemplates - 3));
}

int other_than(int first, int count, Rng& rng) {
  return count > 1 ? (first + 1 + rng.below(count - 1)) % count : first;
}

/// Feet of a subject: on the ground of a scene, around the middle of a plain colour.
double random_feet(const CaptionSpec& spec, double height, Rng& rng) {
  const double lowest = 0.965;
  if (spec.background == BackgroundKind::kColour) {
    const double centred = 0.5 + 0.5 * height;
    return std::clamp(centred + rng.range(-0.03, 0.09), height + 0.01, lowest);
  }
  return rng.range(std::max(0.84, std::min(lowest, height + 0.02)), lowest);
}

}  // namespace

struct Compositor::Drawing {
  Canvas canvas;
  std::vector<std::uint8_t> labels;
  std::vector<PlacedSubject> subjects;
};

void choose_words(CaptionSpec& spec, Rng& rng) {
  const bool pair = spec.subjects.size() == 2;
  if (pair) spec.pair = random_pair(rng);
  spec.background_words =
      rng.chance(kMentionBackground) ? BackgroundWords::kPlain : BackgroundWords::kNone;
  if (pair && spec.background_words == BackgroundWords::kPlain && rng.chance(0.5)) {
    spec.background_words = BackgroundWords::kWithComma;
  }
  const int prefixes = static_cast<int>(caption_prefixes().size()) - 1;
  spec.prefix = rng.chance(kPrefix) ? 1 + rng.below(prefixes) : 0;
}

Compositor::Compositor(World world, const std::filesystem::path& sprite_folder)
    : world_(std::move(world)) {
  const auto longest = world_.options.size + world_.options.size / 4;
  for (const auto& subject : world_.classes) {
    sprites_.push_back(load_sprite(sprite_file(sprite_folder, "fluent", subject.name), longest));
  }
}

CaptionSpec Compositor::random_caption(Rng& rng) const {
  const auto& options = world_.options;
  CaptionSpec spec;
  const auto classes = static_cast<int>(world_.classes.size());
  const double draw = rng.uniform();
  const int count = draw < options.no_subject                          ? 0
                    : draw < options.no_subject + options.two_subjects ? 2
                                                                       : 1;
  if (count > 0) spec.subjects.push_back({.class_index = rng.below(classes)});
  if (count > 1) {
    spec.subjects.push_back(
        {.class_index = other_than(spec.subjects[0].class_index, classes, rng)});
  }
  if (count == 1 && rng.chance(options.aside)) {
    spec.subjects[0].side = rng.chance(0.5) ? SideWord::kLeft : SideWord::kRight;
  }
  const bool plain = rng.chance(options.plain_background);
  spec.background = plain ? BackgroundKind::kColour : BackgroundKind::kScene;
  spec.background_index =
      rng.below(static_cast<int>(plain ? world_.colours.size() : world_.scenes.size()));
  choose_words(spec, rng);
  return spec;
}

Layout Compositor::arrange(const CaptionSpec& spec, Rng& rng) const {
  const auto& options = world_.options;
  Layout layout{.caption = spec, .placements = {}, .background_key = rng.next()};
  const bool two = spec.subjects.size() == 2;
  for (std::size_t i = 0; i < spec.subjects.size(); ++i) {
    auto& subject = layout.caption.subjects[i];
    const bool aside = subject.side != SideWord::kNone;
    const bool small = two || aside;
    Placement place;
    place.height = small ? rng.range(options.two_height_min, options.two_height_max)
                         : rng.range(options.one_height_min, options.one_height_max);
    place.max_width = small ? 0.47 : 0.92;
    place.flip = rng.chance(0.5);
    if (options.rotation_degrees > 0.0) {
      place.degrees = rng.range(-options.rotation_degrees, options.rotation_degrees);
    }
    place.x = 0.5 + rng.range(-0.1, 0.1);
    if (small) {
      const bool left = two ? i == 0 : subject.side == SideWord::kLeft;
      place.x = (left ? 0.26 : 0.74) + rng.range(-0.03, 0.03);
    }
    place.feet = random_feet(spec, place.height, rng);
    layout.placements.push_back(place);
  }
  return layout;
}

Layout Compositor::layout(Split split, std::uint64_t index) const {
  Rng rng(static_cast<std::uint64_t>(world_.options.seed), split, index);
  auto layout = arrange(random_caption(rng), rng);
  if (layout.placements.size() == 1 && layout.caption.subjects[0].side == SideWord::kNone) {
    const auto& options = world_.options;
    const double share = (layout.placements[0].height - options.one_height_min) /
                         std::max(1e-9, options.one_height_max - options.one_height_min);
    const auto size = share < 0.25   ? SizeWord::kSmall
                      : share > 0.75 ? SizeWord::kBig
                                     : SizeWord::kNone;
    if (rng.chance(kSizeWord)) layout.caption.subjects[0].size = size;
  }
  return layout;
}

void draw_background(Canvas& canvas, const World& world, const CaptionSpec& spec,
                     std::uint64_t key) {
  Rng rng(key);
  const auto index = static_cast<std::size_t>(spec.background_index);
  if (spec.background == BackgroundKind::kColour) {
    draw_colour(canvas, world.colours.at(index).rgb, rng);
  } else {
    draw_scene(canvas, world.scenes.at(index).kind, rng);
  }
}

std::vector<Fitted> Compositor::fit_all(const Layout& layout) const {
  std::vector<Fitted> fitted;
  for (std::size_t i = 0; i < layout.placements.size(); ++i) {
    const auto which = static_cast<std::size_t>(layout.caption.subjects[i].class_index);
    fitted.push_back(fit(sprites_.at(which), layout.placements[i], world_.options.size));
  }
  return fitted;
}

std::vector<PlacedSubject> Compositor::subjects(const Layout& layout) const {
  std::vector<PlacedSubject> placed;
  for (const auto& fitted : fit_all(layout)) {
    placed.push_back({layout.caption.subjects[placed.size()].class_index, fitted.box});
  }
  return placed;
}

Compositor::Drawing Compositor::render(const Layout& layout) const {
  const auto size = world_.options.size;
  Drawing drawing{
      Canvas(size), std::vector<std::uint8_t>(static_cast<std::size_t>(size * size)), {}};
  draw_background(drawing.canvas, world_, layout.caption, layout.background_key);

  const auto fitted = fit_all(layout);
  for (std::size_t i = 0; i < fitted.size(); ++i) {
    drawing.subjects.push_back({layout.caption.subjects[i].class_index, fitted[i].box});
  }
  std::vector<std::size_t> far_to_near(fitted.size());
  std::iota(far_to_near.begin(), far_to_near.end(), 0u);
  std::stable_sort(far_to_near.begin(), far_to_near.end(), [&fitted](auto a, auto b) {
    return fitted[a].box.bottom < fitted[b].box.bottom;
  });
  const auto side = static_cast<double>(size);
  for (const auto i : far_to_near) {
    const auto& box = fitted[i].box;
    draw_shadow(drawing.canvas, 0.5 * static_cast<double>(box.left + box.right) / side,
                (static_cast<double>(box.bottom) - 1.0) / side,
                0.45 * static_cast<double>(box.right - box.left) / side);
    paste(drawing.canvas, fitted[i], drawing.labels, static_cast<std::uint8_t>(i + 1));
  }
  return drawing;
}

void store_pixels(const Canvas& canvas, std::uint8_t* target) {
  const float* source = canvas.pixel(0, 0);
  const auto count = 3 * canvas.size() * canvas.size();
  for (std::int64_t i = 0; i < count; ++i) {
    target[i] = static_cast<std::uint8_t>(std::clamp(source[i], 0.0f, 1.0f) * 255.0f + 0.5f);
  }
}

Composite Compositor::draw(const Layout& layout) const {
  const auto size = world_.options.size;
  auto drawing = render(layout);
  Composite composite;
  composite.picture = torch::empty({size, size, 3}, torch::kUInt8);
  store_pixels(drawing.canvas, composite.picture.data_ptr<std::uint8_t>());
  composite.labels = torch::empty({size, size}, torch::kUInt8);
  std::copy(drawing.labels.begin(), drawing.labels.end(),
            composite.labels.data_ptr<std::uint8_t>());
  composite.subjects = std::move(drawing.subjects);
  composite.spec = layout.caption;
  composite.caption = caption_text(world_, layout.caption);
  return composite;
}

torch::Tensor Compositor::pictures(Split split, std::uint64_t first, std::int64_t count) const {
  const auto size = world_.options.size;
  auto result = torch::empty({count, size, size, 3}, torch::kUInt8);
  auto* target = result.data_ptr<std::uint8_t>();
  for (std::int64_t i = 0; i < count; ++i, target += 3 * size * size) {
    store_pixels(render(layout(split, first + static_cast<std::uint64_t>(i))).canvas, target);
  }
  return result;
}

std::vector<std::string> Compositor::captions(Split split, std::uint64_t first,
                                              std::int64_t count) const {
  std::vector<std::string> result;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto what = layout(split, first + static_cast<std::uint64_t>(i));
    result.push_back(caption_text(world_, what.caption));
  }
  return result;
}

torch::Tensor subject_mask(const Composite& composite, std::size_t index) {
  return composite.labels.eq(static_cast<std::int64_t>(index) + 1).to(torch::kUInt8) * 255;
}

torch::Tensor contact_sheet(const Compositor& compositor, Split split, std::int64_t count,
                            std::int64_t columns) {
  std::vector<torch::Tensor> pictures;
  const auto all = compositor.pictures(split, 0, count);
  for (std::int64_t i = 0; i < count; ++i) pictures.push_back(all[i]);
  return io::make_grid(pictures, columns, 2);
}

}  // namespace mos::world
