#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "mos/base/json.h"
#include "mos/checkpoint/checkpoint.h"
#include "mos/region/sample.h"
#include "mos/session/picture_record.h"
#include "mos/text/prompt_tags.h"

namespace mos::session {

/// The options of a finished picture, to paint another one with some of them changed.
struct FromPicture {
  std::optional<std::string> base;  ///< None from other programs, whose names are no paths.
  checkpoint::ReadOptions read;
  std::optional<std::string> device, dtype;
  std::vector<ConceptUse> concepts;
  std::vector<text::LoraTag> loras = {};  ///< Of other programs, which name no files.
  Json scene = {};                        ///< As a scene file.
  region::SampleOptions options = {};
  /// What other programs wrote that nothing here takes, each a few words.
  std::vector<std::string> left_out = {};
};

/// Reads the record of mos sample, A1111's, InvokeAI's or ComfyUI's in `picture`; warns of
/// what is left out. Throws kIo, kFormat for a picture with none of these.
FromPicture read_from_picture(const std::filesystem::path& picture);

}  // namespace mos::session
