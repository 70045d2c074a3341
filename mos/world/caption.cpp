#include "mos/world/caption.h"

#include <fmt/core.h>

#include <algorithm>
#include <set>
#include <sstream>

#include "mos/base/error.h"

namespace mos::world {
namespace {

constexpr double kMentionBackground = 0.85;  // the rest leaves it to the model
constexpr double kPrefix = 0.4;
constexpr double kStyleFirst = 0.5;  // of the captions that name a style

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
    case SideWord::kMiddle:
      return " in the middle";
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

std::string triple_phrase(TripleTemplate triple, const std::vector<std::string>& nouns) {
  const auto &left = nouns[0], &middle = nouns[1], &right = nouns[2];
  switch (triple) {
    case TripleTemplate::kAllPlaces:
      return left + " on the left, " + middle + " in the middle and " + right + " on the right";
    case TripleTemplate::kMiddleFirst:
      return middle + " in the middle, " + left + " on the left and " + right + " on the right";
    case TripleTemplate::kBetween:
      return middle + " between " + left + " and " + right;
    case TripleTemplate::kList:
      return left + ", " + middle + " and " + right;
  }
  throw Error(ErrorKind::kUsage, "a caption was asked for with an unknown template for three");
}

std::string subjects_phrase(const CaptionSpec& spec, const std::vector<std::string>& nouns) {
  if (nouns.empty()) return "";
  if (nouns.size() == 1) return nouns[0] + side_phrase(spec.subjects[0].side);
  if (nouns.size() == 2) return pair_phrase(spec.pair, nouns[0], nouns[1]);
  return triple_phrase(spec.triple, nouns);
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

struct CaptionParts {
  std::vector<std::string> nouns;  ///< "a lion", from left to right.
  std::string place;               ///< "on the beach"
  std::string style;               ///< "3d"
};

std::string assemble(const CaptionSpec& spec, const CaptionParts& parts) {
  const bool style_first = spec.style_words == StyleWords::kPrefix && !parts.style.empty();
  std::string text = style_first ? "a " + parts.style + " picture of"
                                 : caption_prefixes().at(static_cast<std::size_t>(spec.prefix));
  const auto append = [&text](const std::string& part, const char* gap) {
    if (part.empty()) return;
    if (!text.empty()) text += gap;
    text += part;
  };
  append(subjects_phrase(spec, parts.nouns), " ");
  const bool alone = parts.nouns.empty();
  if (alone || spec.background_words != BackgroundWords::kNone) {
    const bool comma = spec.background_words == BackgroundWords::kWithComma && !alone;
    append(parts.place, comma ? ", " : " ");
  }
  if (spec.style_words == StyleWords::kSuffix && !parts.style.empty()) {
    append(parts.style + " style", ", ");
  }
  return text;
}

/// Two of the seven templates name no order, so each pair template gets its own share.
PairTemplate random_pair(Rng& rng) {
  const double draw = rng.uniform();
  if (draw < 0.4) return PairTemplate::kBothSides;
  if (draw < 0.6) return PairTemplate::kLeftOf;
  if (draw < 0.8) return PairTemplate::kRightOf;
  return static_cast<PairTemplate>(3 + rng.below(kPairTemplates - 3));
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
  const bool spoken_consonant = noun.starts_with("uni") || noun.starts_with("ufo");
  return (vowel && !spoken_consonant ? "an " : "a ") + noun;
}

std::string background_phrase(const World& world, const CaptionSpec& spec) {
  const auto index = static_cast<std::size_t>(spec.background_index);
  if (spec.background == BackgroundKind::kScene) return world.scenes.at(index).phrase;
  return "on " + with_article(world.colours.at(index).name + " background");
}

std::string caption_text(const CaptionSpec& spec, const std::vector<std::string>& nouns,
                         const std::string& place) {
  return assemble(spec, {.nouns = nouns, .place = place, .style = ""});
}

std::string caption_text(const World& world, const CaptionSpec& spec) {
  if (spec.subjects.empty()) return caption_text(spec, {}, background_noun(world, spec));
  CaptionParts parts{.nouns = {},
                     .place = background_phrase(world, spec),
                     .style = world.styles.at(static_cast<std::size_t>(spec.style)).name};
  for (const auto& subject : spec.subjects) {
    const auto& name = world.classes.at(static_cast<std::size_t>(subject.class_index)).name;
    parts.nouns.push_back(with_article(size_adjective(subject.size) + name));
  }
  return assemble(spec, parts);
}

void choose_words(const World& world, CaptionSpec& spec, Rng& rng) {
  const bool several = spec.subjects.size() > 1;
  spec.pair = random_pair(rng);
  spec.triple = rng.chance(0.55) ? TripleTemplate::kAllPlaces
                                 : static_cast<TripleTemplate>(1 + rng.below(kTripleTemplates - 1));
  spec.background_words =
      rng.chance(kMentionBackground) ? BackgroundWords::kPlain : BackgroundWords::kNone;
  if (several && spec.background_words == BackgroundWords::kPlain && rng.chance(0.5)) {
    spec.background_words = BackgroundWords::kWithComma;
  }
  const int prefixes = static_cast<int>(caption_prefixes().size()) - 1;
  spec.prefix = rng.chance(kPrefix) ? 1 + rng.below(prefixes) : 0;
  const auto& style = world.styles.at(static_cast<std::size_t>(spec.style));
  spec.style_words = !rng.chance(style.named)  ? StyleWords::kNone
                     : rng.chance(kStyleFirst) ? StyleWords::kPrefix
                                               : StyleWords::kSuffix;
}

CaptionSpec swap_subject(CaptionSpec spec, int which, int new_class) {
  spec.subjects.at(static_cast<std::size_t>(which)).class_index = new_class;
  return spec;
}

std::optional<CaptionSpec> swap_sides(CaptionSpec spec) {
  auto& subjects = spec.subjects;
  if (subjects.size() == 1) {
    auto& side = subjects[0].side;
    if (side == SideWord::kNone) return std::nullopt;
    side = side == SideWord::kLeft ? SideWord::kRight : SideWord::kLeft;
    return spec;
  }
  if (subjects.size() == 3 && spec.triple != TripleTemplate::kList) {
    std::swap(subjects[spec.triple == TripleTemplate::kBetween ? 1 : 0], subjects[2]);
    return spec;
  }
  const bool names_sides = subjects.size() == 2 && (spec.pair == PairTemplate::kBothSides ||
                                                    spec.pair == PairTemplate::kLeftOf ||
                                                    spec.pair == PairTemplate::kRightOf);
  if (!names_sides) return std::nullopt;
  std::swap(subjects[0], subjects[1]);
  return spec;
}

std::optional<CaptionSpec> swap_style(CaptionSpec spec, int styles) {
  if (spec.style_words == StyleWords::kNone || spec.subjects.empty() || styles < 2) {
    return std::nullopt;
  }
  spec.style = (spec.style + 1) % styles;
  return spec;
}

std::vector<std::string> caption_words() {
  std::set<std::string> words = {"a",    "an",    "the", "small",  "big",     "on",
                                 "left", "right", "and", "middle", "between", "to",
                                 "of",   "next",  "in",  "style",  "picture", "background"};
  const auto add = [&words](const std::string& text) {
    std::istringstream stream(text);
    for (std::string word; stream >> word;) {
      const bool letters = std::all_of(word.begin(), word.end(), [](char c) { return c > '9'; });
      if (letters) words.insert(word);  // digits are tokens of their own
    }
  };
  for (const auto& entry : all_classes()) add(entry.name);
  for (const auto& style : all_styles()) add(style.name);
  for (const auto& scene : all_scenes()) add(scene.name + " " + scene.phrase);
  for (const auto& colour : all_colours()) add(colour.name);
  for (const auto& prefix : caption_prefixes()) add(prefix);
  return {words.begin(), words.end()};
}

}  // namespace mos::world
