#include "mos/region/new_scene.h"

#include <fmt/core.h>

#include <map>
#include <optional>

#include "mos/base/error.h"
#include "mos/base/text.h"

namespace mos::region {

std::string name_of_region(const Scene& scene, std::size_t index) {
  const auto& name = scene.regions.at(index).name;
  return name.empty() ? fmt::format("{}", index + 1) : name;
}

void check_new_scene(const Scene& scene) {
  std::map<std::string, std::size_t> named;
  std::optional<std::size_t> background;
  for (std::size_t i = 0; i < scene.regions.size(); ++i) {
    const auto name = name_of_region(scene, i);
    const auto [found, is_new] = named.emplace(name, i);
    if (!is_new) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("regions {} and {} are both called \"{}\" (one without a name is "
                              "called its number); give each a name of its own",
                              found->second + 1, i + 1, printable(name)));
    }
    if (!scene.regions[i].background) continue;
    if (background) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("regions {} and {} are both the background; only one can be wherever "
                              "no other region is",
                              *background + 1, i + 1));
    }
    background = i;
  }
}

}  // namespace mos::region
