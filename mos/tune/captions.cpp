#include "mos/tune/captions.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <sstream>
#include <system_error>
#include <utility>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/base/text.h"
#include "mos/text/text_file.h"
#include "mos/tune/draws.h"

namespace mos::tune {

namespace {

const std::map<Templates, std::vector<std::string>>& template_sets() {
  static const std::map<Templates, std::vector<std::string>> sets = {
      {Templates::kNone, {"{}"}},
      {Templates::kPhoto,
       {"a photo of a {}",           "a photo of the {}",          "the photo of a {}",
        "a photo of one {}",         "a photo of my {}",           "a good photo of a {}",
        "a good photo of the {}",    "a bright photo of a {}",     "a dark photo of the {}",
        "a close-up photo of a {}",  "a close-up photo of the {}", "a cropped photo of a {}",
        "a cropped photo of the {}", "a photo of a clean {}",      "a photo of a nice {}",
        "a photo of the cool {}",    "a photo of a small {}",      "a photo of the large {}",
        "a rendering of a {}",       "a rendition of the {}"}},
      {Templates::kCharacter,
       {"a photo of a {}", "a photo of the {}", "the photo of a {}", "a photo of one {}",
        "a good photo of a {}", "a good photo of the {}", "a bright photo of the {}",
        "a cropped photo of a {}", "a cropped photo of the {}", "a photo of a nice {}",
        "a photo of a cool {}", "a rendering of a {}", "a rendition of a {}",
        "a rendition of the {}"}},
      {Templates::kPainting,
       {"a painting in the style of {}", "the painting in the style of {}",
        "a rendering in the style of {}", "a picture in the style of {}",
        "a good painting in the style of {}", "a bright painting in the style of {}",
        "a dark painting in the style of {}", "a close-up painting in the style of {}",
        "a cropped painting in the style of {}", "a small painting in the style of {}",
        "a large painting in the style of {}", "a nice painting in the style of {}"}},
  };
  return sets;
}

/// Draws nothing where there is no choice.
const std::string& draw_caption(const Caption& caption, at::Generator& generator) {
  if (caption.others.empty()) return caption.text;
  const auto place = uniform_int(generator, 0, static_cast<std::int64_t>(caption.others.size()));
  return place == 0 ? caption.text : caption.others[static_cast<std::size_t>(place - 1)];
}

}  // namespace

std::vector<std::string> read_caption_lines(const std::filesystem::path& path) {
  constexpr std::uintmax_t kMostBytes = 64 << 10;  // text encoders read some 400
  std::error_code ignored;
  const auto bytes = std::filesystem::file_size(path, ignored);
  if (!ignored && bytes > kMostBytes) {
    throw Error(ErrorKind::kFormat,
                fmt::format("has {} bytes, a caption has at most {}", bytes, kMostBytes));
  }
  std::istringstream text(text::text_of_file(read_text_file(path)));
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);) {
    line = trimmed(line);
    if (!line.empty()) lines.push_back(std::move(line));
  }
  if (lines.empty()) throw Error(ErrorKind::kFormat, "is empty; expected one line of text");
  return lines;
}

std::string fill_placeholder(std::string_view text, std::string_view phrase) {
  std::string single;
  for (const char letter : trimmed(replaced(std::string(text), kPlaceholder, phrase))) {
    const bool is_blank = letter == ' ' || letter == '\t' || letter == '\n' || letter == '\r';
    if (!is_blank) single += letter;
    // Not at the front: the text has been trimmed.
    if (is_blank && single.back() != ' ') single += ' ';
  }
  return single;
}

const std::vector<std::string>& caption_templates(Templates templates) {
  return template_sets().at(templates);
}

std::vector<std::string> caption_parts(const std::string& text) {
  std::vector<std::string> parts;
  std::size_t from = 0;
  while (from <= text.size()) {
    const auto comma = std::min(text.find(',', from), text.size());
    auto part = trimmed(std::string_view(text).substr(from, comma - from));
    if (!part.empty()) parts.push_back(std::move(part));
    from = comma + 1;
  }
  return parts;
}

std::string shuffle_parts(const std::string& caption, std::int64_t keep, at::Generator& generator) {
  auto parts = caption_parts(caption);
  const auto fixed = std::min(static_cast<std::size_t>(keep), parts.size());
  const std::vector<std::string> loose(parts.begin() + static_cast<std::ptrdiff_t>(fixed),
                                       parts.end());
  const auto order = permutation(generator, static_cast<std::int64_t>(loose.size()));
  for (std::size_t i = 0; i < loose.size(); ++i) {
    parts[fixed + i] = loose[static_cast<std::size_t>(order[i])];
  }
  return fmt::format("{}", fmt::join(parts, ", "));
}

const std::vector<std::string>& templates_of(const Caption& caption,
                                             const CaptionOptions& options) {
  // A caption is a sentence already; a bare phrase becomes one.
  const auto automatic = caption.from_file ? Templates::kNone : Templates::kPhoto;
  return caption_templates(options.templates == Templates::kAuto ? automatic : options.templates);
}

std::vector<std::string> zoom_words(Zoom zoom) {
  if (zoom == Zoom::kFar) return {"a far away", "very small"};
  if (zoom == Zoom::kNear) return {"zoomed in", "close up"};
  return {};
}

std::string draw_prompt(const Caption& caption, const CaptionOptions& options,
                        at::Generator& generator) {
  // For classifier-free guidance, which also asks without a prompt.
  if (happens(generator, options.dropout)) return "";
  const auto& chosen = draw_caption(caption, generator);
  const auto text = options.shuffle ? shuffle_parts(chosen, options.keep, generator) : chosen;
  const auto& sentences = templates_of(caption, options);
  // Drawn even where there is one sentence: the numbers behind it stay the same for any set.
  const auto place = uniform_int(generator, 0, static_cast<std::int64_t>(sentences.size()) - 1);
  auto prompt = sentences[static_cast<std::size_t>(place)];
  prompt.replace(prompt.find("{}"), 2, text);
  return prompt;
}

}  // namespace mos::tune
