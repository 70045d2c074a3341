#include "mos/world/caption.h"

#include <fmt/core.h>

#include <set>
#include <sstream>

#include "mos/base/error.h"

namespace mos::world {
namespace {

std::string size_adjective(SizeWord size) {
  switch (size) {
    case SizeWord::kSmall:
      return "small ";
    case SizeWord::kBig:
      return "big ";
    case SizeWord::kNone:
      break;
  }
  return "";
}

std::string side_phrase(SideWord side) {
  switch (side) {
    case SideWord::kLeft:
      return " on the left";
    case SideWord::kRight:
      return " on the right";
    case SideWord::kNone:
      break;
  }
  return "";
}

std::string pair_phrase(PairTemplate pair, const std::string& left, const std::string& right) {
  switch (pair) {
    case PairTemplate::kBothSides:
      return left + " on the left and " + right + " on the right";
    case PairTemplate::kLeftOf:
      return left + " to the left of " + right;
    case PairTemplate::kRightOf:
      return right + " to the right of " + left;
    case PairTemplate::kNextTo:
      return left + " next to " + right;
    case PairTemplate::kNextToReversed:
      return right + " next to " + left;
    case PairTemplate::kAnd:
      return left + " and " + right;
    case PairTemplate::kAndReversed:
      return right + " and " + left;
  }
  throw Error(ErrorKind::kUsage, "a caption was asked for with an unknown pair template");
}

std::string subjects_phrase(const CaptionSpec& spec, const std::vector<std::string>& nouns) {
  if (nouns.empty()) return "";
  if (nouns.size() == 1) return nouns[0] + side_phrase(spec.subjects[0].side);
  return pair_phrase(spec.pair, nouns[0], nouns[1]);
}

/// A picture of the background alone: "the beach", "a red background".
std::string background_noun(const World& world, const CaptionSpec& spec) {
  const auto index = static_cast<std::size_t>(spec.background_index);
  if (spec.background == BackgroundKind::kColour) {
    return with_article(world.colours.at(index).name + " background");
  }
  const auto& scene = world.scenes.at(index);
  return scene.kind == SceneKind::kMeadow || scene.kind == SceneKind::kRoom
             ? with_article(scene.name)
             : "the " + scene.name;
}

}  // namespace

const std::vector<std::string>& caption_prefixes() {
  static const std::vector<std::string> prefixes = {"",
                                                    "a photo of",
                                                    "photo of",
                                                    "a picture of",
                                                    "an image of",
                                                    "an illustration of",
                                                    "a rendering of"};
  return prefixes;
}

std::string with_article(const std::string& noun) {
  const bool vowel = !noun.empty() && std::string_view("aeiou").find(noun[0]) != std::string::npos;
  const bool spoken_consonant = noun.starts_with("uni");
  return (vowel && !spoken_consonant ? "an " : "a ") + noun;
}

std::string background_phrase(const World& world, const CaptionSpec& spec) {
  const auto index = static_cast<std::size_t>(spec.background_index);
  if (spec.background == BackgroundKind::kScene) return world.scenes.at(index).phrase;
  return "on " + with_article(world.colours.at(index).name + " background");
}

std::string caption_text(const CaptionSpec& spec, const std::vector<std::string>& nouns,
                         const std::string& place) {
  std::string text = caption_prefixes().at(static_cast<std::size_t>(spec.prefix));
  const auto append = [&text](const std::string& part, const char* gap) {
    if (part.empty()) return;
    if (!text.empty()) text += gap;
    text += part;
  };
  append(subjects_phrase(spec, nouns), " ");
  if (spec.background_words == BackgroundWords::kNone && !nouns.empty()) return text;
  append(place,
         spec.background_words == BackgroundWords::kWithComma && !nouns.empty() ? ", " : " ");
  return text;
}

std::string caption_text(const World& world, const CaptionSpec& spec) {
  if (spec.subjects.empty()) return caption_text(spec, {}, background_noun(world, spec));
  std::vector<std::string> nouns;
  for (const auto& subject : spec.subjects) {
    const auto& name = world.classes.at(static_cast<std::size_t>(subject.class_index)).name;
    nouns.push_back(with_article(size_adjective(subject.size) + name));
  }
  return caption_text(spec, nouns, background_phrase(world, spec));
}

CaptionSpec swap_subject(CaptionSpec spec, int which, int new_class) {
  spec.subjects.at(static_cast<std::size_t>(which)).class_index = new_class;
  return spec;
}

std::optional<CaptionSpec> swap_sides(CaptionSpec spec) {
  if (spec.subjects.size() == 1) {
    auto& side = spec.subjects[0].side;
    if (side == SideWord::kNone) return std::nullopt;
    side = side == SideWord::kLeft ? SideWord::kRight : SideWord::kLeft;
    return spec;
  }
  const bool names_sides = spec.subjects.size() == 2 && (spec.pair == PairTemplate::kBothSides ||
                                                         spec.pair == PairTemplate::kLeftOf ||
                                                         spec.pair == PairTemplate::kRightOf);
  if (!names_sides) return std::nullopt;
  std::swap(spec.subjects[0], spec.subjects[1]);
  return spec;
}

std::vector<std::string> caption_words() {
  std::set<std::string> words = {"a",     "an",  "the", "small", "big",  "on", "left",
                                 "right", "and", "to",  "of",    "next", "in", "background"};
  const auto add = [&words](const std::string& text) {
    std::istringstream stream(text);
    for (std::string word; stream >> word;) words.insert(word);
  };
  for (const auto& entry : all_classes()) add(entry.name);
  for (const auto& scene : all_scenes()) add(scene.name + " " + scene.phrase);
  for (const auto& colour : all_colours()) add(colour.name);
  for (const auto& prefix : caption_prefixes()) add(prefix);
  return {words.begin(), words.end()};
}

}  // namespace mos::world
