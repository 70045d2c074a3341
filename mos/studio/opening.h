#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "mos/base/json.h"
#include "mos/studio/projects.h"
#include "mos/studio/studio_folder.h"

/// What somebody opens a studio with, brought into its folder.
namespace mos::studio {

/// Throws Error where a file or folder is not what it was given for.
using PlaceCheck = std::function<void(const std::filesystem::path& place)>;

/// A copy of `file` in `top` ("concept-files") of the folder, relative to it: the one that is there
/// if it has the same bytes, else a new one under a free name, once `check` has let it pass. Throws
/// kIo.
std::string take_file(const StudioFolder& folder, const std::filesystem::path& file,
                      const std::string& top, const PlaceCheck& check = {});

/// Puts a link to the base model into models/, once `check` has let it pass; nothing happens where
/// it is there. Throws kIo, kUsage where another one has its name.
void link_model(const StudioFolder& folder, const std::string& model, const PlaceCheck& check);

/// The scene of a file as a project (docs/regions.md): its pictures are copied into uploads/, its
/// adapters are those of the models that are there. Gives the number of the project, which is the
/// same for the same scene. Throws kIo, kFormat for what is no scene, kUsage for an adapter of no
/// model of the folder.
std::int64_t take_scene(const StudioFolder& folder, Projects& projects,
                        const std::filesystem::path& file);

}  // namespace mos::studio
