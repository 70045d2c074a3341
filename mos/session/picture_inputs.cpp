#include "mos/session/picture_inputs.h"

#include "mos/session/picture_record.h"
#include "mos/session/session.h"

namespace mos::session {
namespace {

void note_hash(const std::string& what, const std::string& file, std::string& noted) {
  if (file.empty()) return;
  const auto actual = file_hash(file);
  check_hash(what + " " + file, noted, actual);
  noted = actual;
}

}  // namespace

void read_pictures(Outputs& outputs, const region::Scene& scene,
                   const region::PictureOptions& options) {
  outputs.read("--init", options.init);
  outputs.read("--mask", options.mask);
  for (const auto& region : scene.regions) outputs.read("the mask of a region", region.mask);
}

region::LoadedStart load_pictures(region::Scene& scene, region::PictureOptions& options) {
  note_hash("the picture", options.init, options.init_sha256);
  note_hash("the mask", options.mask, options.mask_sha256);
  for (auto& region : scene.regions) note_hash("the mask", region.mask, region.mask_sha256);
  return region::load_start(options, scene, scene.canvas.value());
}

}  // namespace mos::session
