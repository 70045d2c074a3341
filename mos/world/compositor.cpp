#include "mos/world/compositor.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <numeric>

#include "mos/io/image.h"
#include "mos/world/scenes.h"

namespace mos::world {

struct Compositor::Drawing {
  Canvas canvas;
  std::vector<std::uint8_t> labels;
  std::vector<PlacedSubject> subjects;
};

Compositor::Compositor(World world, const std::filesystem::path& sprite_folder)
    : world_(std::move(world)) {
  // Subjects may reach a little over the canvas's side; larger artwork would only be shrunk again
  // for each picture.
  const auto longest = world_.options.size + world_.options.size / 4;
  for (const auto& style : world_.styles) {
    auto& of_style = sprites_.emplace_back();
    for (const auto& subject : world_.classes) {
      of_style.push_back(
          load_sprite(sprite_file(sprite_folder, style.folder, subject.name), longest));
    }
  }
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

const Sprite& Compositor::sprite_of(const CaptionSpec& spec, std::size_t which) const {
  const auto subject = static_cast<std::size_t>(spec.subjects.at(which).class_index);
  return sprites_.at(static_cast<std::size_t>(spec.style)).at(subject);
}

std::vector<Fitted> Compositor::fit_all(const Layout& layout) const {
  std::vector<Fitted> fitted;
  for (std::size_t i = 0; i < layout.placements.size(); ++i) {
    fitted.push_back(
        fit(sprite_of(layout.caption, i), layout.placements[i], world_.pixels(layout.canvas)));
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
  const auto [rows, columns] = world_.pixels(layout.canvas);
  Drawing drawing{Canvas(rows, columns),
                  std::vector<std::uint8_t>(static_cast<std::size_t>(rows * columns)),
                  {}};
  draw_background(drawing.canvas, world_, layout.caption, layout.background_key);

  const auto fitted = fit_all(layout);
  for (std::size_t i = 0; i < fitted.size(); ++i) {
    drawing.subjects.push_back({layout.caption.subjects[i].class_index, fitted[i].box});
  }
  std::vector<std::size_t> far_to_near(fitted.size());
  std::iota(far_to_near.begin(), far_to_near.end(), 0u);
  std::stable_sort(far_to_near.begin(), far_to_near.end(), [&fitted](auto a, auto b) {
    // Who stands lower stands nearer, and hides the others.
    return fitted[a].box.bottom < fitted[b].box.bottom;
  });
  const auto share = [&](double pixels) { return pixels / drawing.canvas.unit(); };
  for (const auto i : far_to_near) {
    const auto& box = fitted[i].box;
    draw_shadow(drawing.canvas, share(0.5 * static_cast<double>(box.left + box.right)),
                share(static_cast<double>(box.bottom) - 1.0),
                share(0.45 * static_cast<double>(box.right - box.left)));
    paste(drawing.canvas, fitted[i], drawing.labels, static_cast<std::uint8_t>(i + 1));
  }
  return drawing;
}

void store_pixels(const Canvas& canvas, std::uint8_t* target) {
  const float* source = canvas.pixel(0, 0);
  const auto count = 3 * canvas.rows() * canvas.columns();
  for (std::int64_t i = 0; i < count; ++i) {
    // Rounded: + 0.5 before it is cut.
    target[i] = static_cast<std::uint8_t>(std::clamp(source[i], 0.0f, 1.0f) * 255.0f + 0.5f);
  }
}

Composite Compositor::draw(const Layout& layout) const {
  auto drawing = render(layout);
  const auto rows = drawing.canvas.rows(), columns = drawing.canvas.columns();
  Composite composite;
  composite.picture = torch::empty({rows, columns, 3}, torch::kUInt8);
  store_pixels(drawing.canvas, composite.picture.data_ptr<std::uint8_t>());
  composite.labels = torch::empty({rows, columns}, torch::kUInt8);
  std::copy(drawing.labels.begin(), drawing.labels.end(),
            composite.labels.data_ptr<std::uint8_t>());
  composite.subjects = std::move(drawing.subjects);
  composite.spec = layout.caption;
  composite.caption = caption_text(world_, layout.caption);
  return composite;
}

torch::Tensor Compositor::pictures(Split split, const torch::Tensor& indices,
                                   std::size_t canvas) const {
  const auto [rows, columns] = world_.pixels(canvas);
  const auto count = indices.size(0), bytes = 3 * rows * columns;
  auto result = torch::empty({count, rows, columns, 3}, torch::kUInt8);
  auto* target = result.data_ptr<std::uint8_t>();
  const auto wanted = indices.contiguous();
  const auto* index = wanted.data_ptr<std::int64_t>();
  // A picture is drawn from its key alone, so it does not matter which thread does.
  at::parallel_for(0, count, 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = begin; i < end; ++i) {
      const PictureKey key{split, static_cast<std::uint64_t>(index[i]), canvas};
      store_pixels(render(layout_of(world_, key)).canvas, target + i * bytes);
    }
  });
  return result;
}

torch::Tensor subject_mask(const Composite& composite, std::size_t index) {
  return composite.labels.eq(static_cast<std::int64_t>(index) + 1).to(torch::kUInt8) * 255;
}

torch::Tensor contact_sheet(const Compositor& compositor, const PictureKey& first,
                            std::int64_t count, std::int64_t columns) {
  const auto start = static_cast<std::int64_t>(first.index);
  const auto all =
      compositor.pictures(first.split, torch::arange(start, start + count), first.canvas);
  return io::make_grid(all.unbind(0), columns, 2);
}

}  // namespace mos::world
