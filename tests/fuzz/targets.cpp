#include <utility>

#include "tests/fuzz/fuzz.h"

namespace mos::fuzz {

#ifdef MOS_NO_STUDIO
std::vector<Target> studio_targets() { return {}; }
#endif

std::vector<Target> all_targets() {
  std::vector<Target> all;
  for (auto part : {file_targets(), concept_targets(), text_targets(), settings_targets(),
                    prompt_targets(), studio_targets()}) {
    for (auto& target : part) all.push_back(std::move(target));
  }
  return all;
}

}  // namespace mos::fuzz
