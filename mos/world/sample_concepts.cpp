#include "mos/world/sample_concepts.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "mos/base/directory.h"
#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/base/json.h"
#include "mos/io/image.h"
#include "mos/world/caption.h"
#include "mos/world/compositor.h"
#include "mos/world/random.h"
#include "mos/world/scenes.h"
#include "mos/world/sprite.h"

namespace mos::world {
namespace {

constexpr std::size_t kPictures = 8;                           // of each concept
constexpr double kLeastHeight = 0.60, kGreatestHeight = 0.85;  // of characters and objects

const char* category_name(ConceptCategory category) {
  switch (category) {
    case ConceptCategory::kCharacter:
      return "character";
    case ConceptCategory::kObject:
      return "object";
    case ConceptCategory::kScene:
      break;
  }
  return "scene";
}

std::string joined_words(const SampleConcept& sample) {
  const auto [first, second] = sample.words();
  return first + " " + second;
}

/// The middle of a square piece of artwork, without its rounded corners, as a whole background:
/// a crop of 76-86 % of its side, mirrored now and then.
void draw_artwork(Canvas& canvas, const Sprite& artwork, Rng& rng) {
  const auto side = static_cast<double>(std::min(artwork.height, artwork.width));
  const auto length = static_cast<std::int64_t>(rng.range(0.76, 0.86) * side);
  const auto corner = [&rng, length](std::int64_t whole) {
    const auto rest = static_cast<double>(whole - length);
    return static_cast<std::int64_t>(rng.range(0.35, 0.65) * rest);
  };
  const auto top = corner(artwork.height);
  const auto left = corner(artwork.width);
  Sprite crop{length, length, std::vector<float>(static_cast<std::size_t>(4 * length * length))};
  for (std::int64_t y = 0; y < length; ++y) {
    std::copy_n(artwork.at(top + y, left), 4 * length, crop.at(y, 0));
  }
  crop = resize(crop, canvas.rows(), canvas.columns());
  if (rng.chance(0.5)) crop = mirror(crop);
  for (std::int64_t y = 0; y < canvas.rows(); ++y) {
    for (std::int64_t x = 0; x < canvas.columns(); ++x) {
      std::copy_n(crop.at(y, x), 3, canvas.pixel(y, x));
    }
  }
}

/// One subject with its shadow.
void stand(Canvas& canvas, const Sprite& sprite, const Placement& placement,
           std::vector<std::uint8_t>& labels) {
  const auto fitted = fit(sprite, placement, {canvas.rows(), canvas.columns()});
  const auto& box = fitted.box;
  draw_shadow(canvas, 0.5 * static_cast<double>(box.left + box.right) / canvas.unit(),
              (static_cast<double>(box.bottom) - 1.0) / canvas.unit(),
              0.45 * static_cast<double>(box.right - box.left) / canvas.unit());
  paste(canvas, fitted, labels, 1);
}

ConceptPicture finish(const Canvas& canvas, const std::vector<std::uint8_t>& covered,
                      std::uint8_t concept_label, const std::string& caption) {
  ConceptPicture result;
  result.picture = torch::empty({canvas.rows(), canvas.columns(), 3}, torch::kUInt8);
  store_pixels(canvas, result.picture.data_ptr<std::uint8_t>());
  result.mask = torch::empty({canvas.rows(), canvas.columns(), 1}, torch::kUInt8);
  std::transform(covered.begin(), covered.end(), result.mask.data_ptr<std::uint8_t>(),
                 [concept_label](std::uint8_t label) {
                   return static_cast<std::uint8_t>(label == concept_label ? 255 : 0);
                 });
  result.caption = caption;
  return result;
}

/// Artwork at up to twice the size it is drawn at.
Sprite load(const std::filesystem::path& folder, const std::string& style, const std::string& name,
            const World& world) {
  return load_sprite(sprite_file(folder, style, name), 2 * world.options.size);
}

/// A character or an object: every second picture on a scene, the others on plain colours.
ConceptPicture draw_subject(const World& world, const Sprite& sprite, const SampleConcept& sample,
                            int number, Rng& rng) {
  const bool scene = number % 2 == 1;
  CaptionSpec spec;
  spec.subjects.resize(1);
  spec.background = scene ? BackgroundKind::kScene : BackgroundKind::kColour;
  const auto backgrounds = static_cast<int>(scene ? world.scenes.size() : world.colours.size());
  spec.background_index = (number / 2 * 3 + (scene ? 0 : 1)) % backgrounds;
  spec.prefix = number % 4 == 0 ? 1 : 0;

  Canvas canvas(world.options.size, world.options.size);
  draw_background(canvas, world, spec, rng.next());
  Placement place;
  place.height = rng.range(kLeastHeight, kGreatestHeight);
  place.x = 0.5 + rng.range(-0.1, 0.1);
  place.feet = rng.range(std::max(0.86, place.height + 0.02), 0.95);
  place.flip = number % 4 >= 2;
  std::vector<std::uint8_t> labels(static_cast<std::size_t>(canvas.rows() * canvas.columns()));
  stand(canvas, sprite, place, labels);
  return finish(canvas, labels, 1,
                caption_text(spec, {"a " + joined_words(sample)}, background_phrase(world, spec)));
}

/// A scene: empty in every second picture, with a subject of the world in the others.
ConceptPicture draw_place(const World& world, const std::filesystem::path& sprites,
                          const SampleConcept& sample, int number, Rng& rng) {
  Canvas canvas(world.options.size, world.options.size);
  if (sample.style == "drawn") {
    draw_scene(canvas, SceneKind::kLavender, rng);
  } else {
    draw_artwork(canvas, load(sprites, sample.style, sample.name, world), rng);
  }
  std::vector<std::uint8_t> labels(static_cast<std::size_t>(canvas.rows() * canvas.columns()));
  CaptionSpec spec;
  spec.prefix = number % 4 == 0 ? 1 : 0;
  if (number % 2 == 0)
    return finish(canvas, labels, 0, caption_text(spec, {}, joined_words(sample)));

  const auto& guest =
      world.classes[static_cast<std::size_t>(rng.below(static_cast<int>(world.classes.size())))];
  Placement place;
  place.height = rng.range(0.4, 0.55);
  place.x = rng.range(0.3, 0.7);
  place.feet = rng.range(0.88, 0.95);
  place.flip = rng.chance(0.5);
  stand(canvas, load(sprites, "fluent", guest.name, world), place, labels);
  spec.subjects.resize(1);
  return finish(canvas, labels, 0,
                caption_text(spec, {with_article(guest.name)}, "in " + joined_words(sample)));
}

std::string stem_of(std::size_t number) { return fmt::format("{:02}", number); }

std::string description_of(const SampleConcept& sample) {
  const Json description = {{"name", sample.name},
                            {"words", sample.words()},
                            {"class_word", sample.class_word},
                            {"category", category_name(sample.category)},
                            {"style", sample.style}};
  return description.dump(2) + "\n";
}

struct ConceptPart {
  const char* folder;
  const char* ending;
};
constexpr std::array kParts = {ConceptPart{"images", ".png"}, ConceptPart{"masks", ".png"},
                               ConceptPart{"captions", ".txt"}};
constexpr const char* kDescriptionFile = "concept.json";

/// Throws unless `folder` holds this concept as write_concept leaves it, and nothing of others.
void check_sample_concept(const std::filesystem::path& folder, const SampleConcept& sample) {
  FolderKind kind = {"a sample concept", kDescriptionFile, {kDescriptionFile}};
  for (const auto& part : kParts) kind.entries.insert(part.folder);
  check_kind(folder, kind);
  for (const auto& part : kParts) {
    FolderKind pictures_only = {kind.name, stem_of(0) + part.ending, {}};
    for (std::size_t i = 0; i < kPictures; ++i) {
      pictures_only.entries.insert(stem_of(i) + part.ending);
    }
    check_kind(folder / part.folder, pictures_only);
  }
  const auto description = read_json_file(folder / kDescriptionFile);
  const auto name = json_value<std::string>(description, "name", "");
  if (name == sample.name && description.contains("style")) return;  // nobody else says a style
  throw Error(ErrorKind::kUsage, fmt::format("cannot replace the folder {}: it is another concept "
                                             "than {}; choose another place",
                                             folder.string(), sample.name));
}

FolderCheck may_replace(const SampleConcept& sample) {
  return [&sample](const std::filesystem::path& former) { check_sample_concept(former, sample); };
}

void write_concept(const SampleConcept& sample, const std::vector<ConceptPicture>& pictures,
                   const std::filesystem::path& target) {
  check_folder_target(target, Existing::kReplace, may_replace(sample));
  AtomicDirectory directory(target, Existing::kReplace, may_replace(sample));
  for (const auto& part : kParts) make_folders(directory.path() / part.folder);
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    const auto stem = stem_of(i);
    io::write_png(directory.path() / "images" / (stem + ".png"), pictures[i].picture);
    io::write_png(directory.path() / "masks" / (stem + ".png"), pictures[i].mask);
    write_text_file(directory.path() / "captions" / (stem + ".txt"), pictures[i].caption + "\n");
  }
  write_text_file(directory.path() / kDescriptionFile, description_of(sample));
  directory.commit();
}

}  // namespace

const std::vector<SampleConcept>& sample_concepts() {
  static const std::vector<SampleConcept> concepts = {
      {"wizard", "man", ConceptCategory::kCharacter, "fluent"},
      {"azure", "woman", ConceptCategory::kCharacter, "dicebear"},
      {"teddy", "bear", ConceptCategory::kObject, "fluent"},
      {"racer", "car", ConceptCategory::kObject, "twemoji"},
      {"lavender", "meadow", ConceptCategory::kScene, "drawn"},
      {"dawn", "mountains", ConceptCategory::kScene, "noto"},
  };
  return concepts;
}

std::vector<ConceptPicture> draw_concept(const SampleConcept& sample,
                                         const std::filesystem::path& sprite_folder, int count) {
  const auto world = make_world();
  std::uint64_t stream = 0;  // of its own for every name
  for (const char letter : sample.name) stream = 31 * stream + static_cast<unsigned char>(letter);
  std::vector<ConceptPicture> pictures;
  for (int number = 0; number < count; ++number) {
    Rng rng(stream, Split::kConcept, static_cast<std::uint64_t>(number));
    if (sample.category == ConceptCategory::kScene) {
      pictures.push_back(draw_place(world, sprite_folder, sample, number, rng));
    } else {
      const auto sprite = load(sprite_folder, sample.style, sample.name, world);
      pictures.push_back(draw_subject(world, sprite, sample, number, rng));
    }
  }
  return pictures;
}

void write_concepts(const std::vector<PlacedConcept>& concepts,
                    const std::filesystem::path& sprite_folder) {
  for (const auto& [sample, target] : concepts) {
    check_folder_target(target, Existing::kReplace, may_replace(sample));
  }
  for (const auto& [sample, target] : concepts) {
    write_concept(sample, draw_concept(sample, sprite_folder, static_cast<int>(kPictures)), target);
  }
}

void write_sample_concepts(const std::filesystem::path& sprite_folder,
                           const std::filesystem::path& folder) {
  std::vector<PlacedConcept> concepts;
  for (const auto& sample : sample_concepts()) concepts.push_back({sample, folder / sample.name});
  write_concepts(concepts, sprite_folder);
}

}  // namespace mos::world
