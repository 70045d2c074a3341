#pragma once

#include "mos/base/outputs.h"

/// Kinds of files that commands write, each known by its content.
namespace mos::session {

FileKind picture_kind();          ///< Any PNG.
FileKind painted_picture_kind();  ///< A PNG of mos sample.
FileKind record_kind();           ///< A record or report of this program.
FileKind concept_kind();          ///< A concept, a LoRA or an embedding.
FileKind model_kind();            ///< A model in one file.
FileKind any_kind();              ///< Whatever has the name, which is ours.

/// The folder of a model, or one file where `path` is for that.
void write_model(Outputs& outputs, const std::string& name, const std::filesystem::path& path,
                 Existing existing);

}  // namespace mos::session
