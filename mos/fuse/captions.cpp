#include "mos/fuse/captions.h"

#include <fmt/core.h>

#include <array>
#include <sstream>
#include <string_view>
#include <utility>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/base/text.h"
#include "mos/text/text_file.h"

namespace mos::fuse {

namespace {

constexpr auto kSubjects = std::to_array<std::string_view>(
    {"a dog",           "a black cat",     "a man",          "a woman",      "two children",
     "a horse",         "a small bird",    "a red car",      "an old house", "a boat",
     "a bowl of fruit", "a cup of coffee", "a wooden chair", "a bicycle",    "a tall tree",
     "a mountain",      "a stone bridge",  "a toy robot",    "some flowers", "a group of people"});
constexpr auto kPlaces = std::to_array<std::string_view>(
    {"on the beach", "in the snow", "in a dark forest", "in a city street", "on a table",
     "at night", "under a blue sky", "in front of a white wall", "beside a river", "in a museum"});
constexpr auto kFrames = std::to_array<std::string_view>(
    {"a photo of {}", "{}", "a painting of {}", "a close view of {}", "an old picture of {}"});

/// Every subject at every place, in frames by turns.
std::vector<std::string> own_captions() {
  std::vector<std::string> captions;
  for (const auto subject : kSubjects) {
    for (const auto place : kPlaces) {
      const auto scene = fmt::format("{} {}", subject, place);
      const auto frame =
          kFrames[(captions.size() + captions.size() / kFrames.size()) % kFrames.size()];
      captions.push_back(fmt::format(fmt::runtime(frame), scene));
    }
  }
  return captions;
}

}  // namespace

std::vector<std::string> captions_of(const std::string& file) {
  if (file.empty()) return own_captions();
  std::vector<std::string> captions;
  try {
    std::istringstream text(text::text_of_file(read_text_file(file)));
    for (std::string line; std::getline(text, line);) {
      line = trimmed(line);
      if (!line.empty()) captions.push_back(std::move(line));
    }
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kFormat) throw;
    throw Error(error.kind(), fmt::format("{} {}", file, error.what()));
  }
  if (captions.empty()) {
    throw Error(ErrorKind::kFormat, fmt::format("{} has no caption; write one a line", file));
  }
  return captions;
}

}  // namespace mos::fuse
