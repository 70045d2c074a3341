#include "mos/world/sample_concepts.h"

namespace mos::world {

const std::vector<StudyConcept>& study_concepts() {
  using enum ConceptCategory;
  static const std::vector<StudyConcept> concepts = {
      // One of each category first: a study of three takes these.
      {{"genie", "man", kCharacter, "fluent"}, "report"},
      {{"saxophone", "trumpet", kObject, "twemoji"}, "report"},
      {{"bridge", "city", kScene, "twemoji"}, "report"},
      {{"umber", "man", kCharacter, "dicebear"}, "report"},
      {{"lobster", "crab", kObject, "fluent"}, "report"},
      {{"guard", "policeman", kCharacter, "noto"}, "report"},
      {{"moai", "statue", kObject, "twemoji"}, "report"},
      {{"villain", "superhero", kCharacter, "twemoji"}, "report"},
      {{"teapot", "cup", kObject, "fluent"}, "report"},
      {{"coral", "woman", kCharacter, "dicebear"}, "report"},
      {{"sauropod", "dinosaur", kObject, "noto"}, "report"},
      {{"galaxy", "night", kScene, "noto"}, "report"},
      {{"fairy", "woman", kCharacter, "fluent"}, "choose"},
      {{"sienna", "man", kCharacter, "dicebear"}, "choose"},
      {{"accordion", "drum", kObject, "noto"}, "choose"},
      {{"matryoshka", "doll", kObject, "twemoji"}, "choose"},
      {{"sunrise", "sunset", kScene, "twemoji"}, "choose"},
      {{"elf", "woman", kCharacter, "noto"}, "check"},
      {{"olive", "woman", kCharacter, "dicebear"}, "check"},
      {{"carousel", "horse", kObject, "fluent"}, "check"},
      {{"slots", "machine", kObject, "twemoji"}, "check"},
      {{"skyline", "city", kScene, "noto"}, "check"},
  };
  return concepts;
}

void write_study_concepts(const std::filesystem::path& sprite_folder,
                          const std::filesystem::path& folder) {
  std::vector<PlacedConcept> concepts;
  for (const auto& [drawn, set] : study_concepts()) {
    concepts.push_back({drawn, folder / set / drawn.name});
  }
  write_concepts(concepts, sprite_folder);
}

}  // namespace mos::world
