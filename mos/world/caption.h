#pragma once

#include <optional>
#include <string>
#include <vector>

#include "mos/world/random.h"
#include "mos/world/world.h"

namespace mos::world {

enum class SizeWord { kNone, kSmall, kBig };
enum class SideWord { kNone, kLeft, kMiddle, kRight };

struct CaptionSubject {
  int class_index = 0;  ///< Into World::classes.
  SizeWord size = SizeWord::kNone;
  SideWord side = SideWord::kNone;  ///< Named for a single subject only.
};

/// How two subjects are put into words; L stands for the left one, R for the right one.
enum class PairTemplate {
  kBothSides,  ///< "L on the left and R on the right"
  kLeftOf,     ///< "L to the left of R"
  kRightOf,    ///< "R to the right of L"
  kNextTo,     ///< "L next to R": no sides
  kNextToReversed,
  kAnd,  ///< "L and R": no sides
  kAndReversed,
};
constexpr int kPairTemplates = 7;

/// The same for three: L, M and R from left to right.
enum class TripleTemplate {
  kAllPlaces,    ///< "L on the left, M in the middle and R on the right"
  kMiddleFirst,  ///< "M in the middle, L on the left and R on the right"
  kBetween,      ///< "M between L and R": the outer two may be exchanged
  kList,         ///< "L, M and R": no places
};
constexpr int kTripleTemplates = 4;

enum class BackgroundKind { kScene, kColour };

/// How the background is put into words.
enum class BackgroundWords { kNone, kPlain, kWithComma };

/// How the style is put into words: "a 3d picture of a lion", "a lion, 3d style".
enum class StyleWords { kNone, kPrefix, kSuffix };

/// What a caption says, as data: the text is a function of it, and a changed copy gives the caption
/// of another picture (a hard negative, or the wrong caption of an acceptance test).
struct CaptionSpec {
  std::vector<CaptionSubject> subjects;  ///< 0 to 3, from left to right.
  int style = 0;                         ///< Into World::styles, of all subjects.
  BackgroundKind background = BackgroundKind::kColour;
  int background_index = 0;  ///< Into World::scenes or World::colours.
  StyleWords style_words = StyleWords::kNone;
  BackgroundWords background_words = BackgroundWords::kPlain;
  PairTemplate pair = PairTemplate::kBothSides;
  TripleTemplate triple = TripleTemplate::kAllPlaces;
  int prefix = 0;  ///< 0 is none; see caption_prefixes(). A style's prefix takes its place.
};

/// "", "a photo of", "photo of", …
const std::vector<std::string>& caption_prefixes();

/// The caption of `spec`, lower case, without a full stop.
std::string caption_text(const World& world, const CaptionSpec& spec);

/// As caption_text without style words, with `nouns[i]` in the place of the i-th subject's "a lion"
/// and `place` (unless empty) in the place of the background's phrase. Sample concepts speak this
/// way.
std::string caption_text(const CaptionSpec& spec, const std::vector<std::string>& nouns,
                         const std::string& place);

/// "on the beach" or "on a red background".
std::string background_phrase(const World& world, const CaptionSpec& spec);

/// "a " or "an " before `noun`.
std::string with_article(const std::string& noun);

/// Tells what `spec` shows in other words: prefix, order, style, background. The subjects and their
/// own words stay.
void choose_words(const World& world, CaptionSpec& spec, Rng& rng);

/// The spec with the class of subject `which` replaced.
CaptionSpec swap_subject(CaptionSpec spec, int which, int new_class);

/// The spec with left and right exchanged (of three where only the middle is named, middle and
/// right); nothing when its caption names no side.
std::optional<CaptionSpec> swap_sides(CaptionSpec spec);

/// The spec in another of `styles` styles; nothing when its caption names none.
std::optional<CaptionSpec> swap_style(CaptionSpec spec, int styles);

/// Every word of letters that a caption of the largest world can contain, sorted.
std::vector<std::string> caption_words();

}  // namespace mos::world
