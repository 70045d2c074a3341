#include <utility>

#include "tests/fuzz/fuzz.h"

namespace mos::fuzz {

std::vector<Target> all_targets() {
  std::vector<Target> all;
  for (auto part :
       {file_targets(), concept_targets(), text_targets(), settings_targets(), prompt_targets()}) {
    for (auto& target : part) all.push_back(std::move(target));
  }
  return all;
}

}  // namespace mos::fuzz
