#pragma once

#include <ATen/core/Generator.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "mos/concepts/tokens.h"
#include "mos/tune/framing.h"
#include "mos/tune/options.h"

/// From the caption of a picture to the prompt that it is tuned with.
namespace mos::tune {

using concepts::kPlaceholder;

/// `text` with every placeholder replaced by `phrase`, spaces trimmed and single.
std::string fill_placeholder(std::string_view text, std::string_view phrase);

/// Sentences around a caption, "{}" where it goes: photo and character (things and people in
/// photographs, after the prompt sets that CLIP was tested with), painting (styles), none.
const std::vector<std::string>& caption_templates(Templates templates);

/// What may stand before a prompt whose picture is framed so; nothing for kNone.
std::vector<std::string> zoom_words(Zoom zoom);

/// The comma-separated parts of `caption`.
std::vector<std::string> caption_parts(const std::string& caption);

/// These parts in random order behind the first `keep`.
std::string shuffle_parts(const std::string& caption, std::int64_t keep, at::Generator& generator);

/// A caption with the placeholder in it, and whether a file gave it.
struct Caption {
  std::string text;
  bool from_file = false;
  std::vector<std::string>
      others;  ///< More captions of the picture, each drawn as often as `text`.
};

/// The lines of a caption file that have text, trimmed: at least one. Throws mos::Error: kIo, or
/// kFormat when it is not UTF-8, has no text or is longer than a caption can be.
std::vector<std::string> read_caption_lines(const std::filesystem::path& path);

/// The templates that `options` mean for `caption`.
const std::vector<std::string>& templates_of(const Caption& caption, const CaptionOptions& options);

/// Dropout, choice among several captions, shuffling and template of one training prompt.
std::string draw_prompt(const Caption& caption, const CaptionOptions& options,
                        at::Generator& generator);

}  // namespace mos::tune
