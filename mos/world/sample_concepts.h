#pragma once

#include <torch/types.h>

#include <array>
#include <filesystem>
#include <string>
#include <vector>

#include "mos/world/world.h"

namespace mos::world {

enum class ConceptCategory { kCharacter, kObject, kScene };

/// One drawn concept that pretraining never sees, such as those that ship with the project.
struct SampleConcept {
  std::string name;        ///< Folder name, and the sprite file's.
  std::string class_word;  ///< What the base model would call it: one token.
  ConceptCategory category = ConceptCategory::kObject;
  std::string style;  ///< Of the artwork: "fluent" is pretraining's; "drawn" is a drawn scene.

  /// The two words that stand for it in prompts, "<name1>" and "<name2>".
  std::array<std::string, 2> words() const { return {"<" + name + "1>", "<" + name + "2>"}; }
};

/// Two characters, two objects, two scenes; one of each in pretraining's style, one in another.
const std::vector<SampleConcept>& sample_concepts();

/// One picture of a concept as the files have it.
struct ConceptPicture {
  torch::Tensor picture;  ///< uint8 [H, W, 3]
  torch::Tensor mask;     ///< uint8 [H, W, 1]: 255 where the concept is.
  std::string caption;
};

/// Pictures 0 … count - 1 of a concept, on backgrounds (or, for scenes, with subjects) of the
/// world. Throws kIo when a sprite is missing.
std::vector<ConceptPicture> draw_concept(const SampleConcept& sample,
                                         const std::filesystem::path& sprite_folder, int count);

/// A concept and the folder that it goes to.
struct PlacedConcept {
  SampleConcept drawn;
  std::filesystem::path folder;
};

/// Writes each as `folder`/{images/NN.png, masks/NN.png, captions/NN.txt, concept.json}, in the
/// place of the same concept where it is there. The same bytes every time.
/// Throws kUsage before anything is written if such a folder holds something else, kIo.
void write_concepts(const std::vector<PlacedConcept>& concepts,
                    const std::filesystem::path& sprite_folder);

/// A concept that nothing is trained on, neither base model nor judge, for measuring with.
struct StudyConcept {
  SampleConcept drawn;
  std::string set;  ///< "choose", "check" or "report"; no concept is in two.
};

/// Five characters, five objects and two scenes to report on, half of them in styles that
/// pretraining does not see; and two further sets, to choose settings on and to check the choice.
const std::vector<StudyConcept>& study_concepts();

/// Writes every one of them as `folder`/<set>/<name>.
void write_study_concepts(const std::filesystem::path& sprite_folder,
                          const std::filesystem::path& folder);

/// Writes every sample concept as `folder`/<name>, as write_concepts does.
void write_sample_concepts(const std::filesystem::path& sprite_folder,
                           const std::filesystem::path& folder);

}  // namespace mos::world
