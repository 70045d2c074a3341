#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "mos/concepts/tokens.h"
#include "mos/diffusion/model.h"
#include "mos/region/region.h"
#include "mos/region/sampler_options.h"
#include "mos/session/concept_keys.h"
#include "mos/session/picture_record.h"

/// A base model with concepts in it, ready to paint.
namespace mos::session {

/// A concept in memory.
struct HeldConcept {
  std::string name;  ///< For messages.
  concepts::ConceptDelta delta;
  double scale = 1.0;
};

struct SessionOptions {
  std::string base;
  std::vector<ConceptUse> concepts;  ///< A given sha256 must be the file's; an empty one is filled.
  std::string base_hash;             ///< The same.
  torch::Device device = torch::kCPU;
  torch::ScalarType dtype = torch::kFloat32;
  KeyOptions keys;
  checkpoint::ReadOptions read;   ///< Of the base model.
  std::vector<HeldConcept> held;  ///< Concepts beside those of files; no record names them.
  /// Anything but kMerged leaves the updates of concepts apart; see composition.h.
  region::Compose compose = region::Compose::kMerged;
};

/// A value of handles: copies share their networks. Required: one thread at a time paints with it
/// or its copies, since regions and conditions are put into the networks for the time of a call.
/// Sessions that were opened apart may paint side by side.
struct Session {
  /// Words of a concept that was asked for, and the file they are from.
  struct Guest {
    std::string file;
    std::vector<std::string> words;
    std::vector<std::string> aliases;  ///< Other names of theirs, as far as they are unambiguous.
    std::string phrase;                ///< What one without words is called; or empty.
  };

  diffusion::Model model;
  concepts::ConceptTokens tokens;
  std::string base;
  checkpoint::ReadOptions read;
  std::string base_hash;
  std::vector<ConceptUse> concepts;  ///< Those of files, with their hashes.
  std::vector<Guest> guests;
  /// The concepts of `guests`, where their updates are in no weights: Composition places them.
  std::vector<HeldConcept> apart;
};

/// Whether `prompt` has a word of `guest`, or the phrase that one without words is called.
bool calls(const Session& session, const Session::Guest& guest, const std::string& prompt);

/// Loads the base model and adds every concept: words to the text encoder, scale · ΔW to the
/// weights, in float32 before they become `dtype`, unless they are composed.
/// Throws kIo and kFormat for files, kUsage for words that clash, kMismatch when a concept does not
/// fit the base model or a hash is another one.
Session open_session(const SessionOptions& options);

/// The same on a model that is loaded already, whose words, weights, device and precision this
/// changes. `options.base_hash` is taken for its hash; empty: it is computed.
Session open_session(diffusion::Model model, const SessionOptions& options);

/// The same without the weights of the model and the hashes of files: for checks, and nothing can
/// be painted with it. Throws as open_session does where that shows.
Session session_of_shapes(const SessionOptions& options);

/// Throws kUsage if no prompt of `scene`, negative and root ones included, has a word of a concept
/// that was asked for, or if a prompt has a word like `<cat1>` that nothing defines. Warns of
/// prompts that are cut and of what other programs would not read as plain words.
void check_words(const Session& session, const region::Scene& scene, bool plain_text);

/// The file that `<lora:name>` in a prompt means, or that `painted`, a picture of another program,
/// names: `name` as it stands or with the ending of a concept's file, Windows' folders in it as
/// ours, in `folder` or on its own. Throws kUsage naming where it was looked for, and for a name
/// that leads out of there: one that is absolute or goes up.
std::string find_lora(const std::string& name, const std::filesystem::path& folder,
                      const std::string& painted = "");

/// Throws kMismatch when `what` had the SHA-256 `expected`, unless that is empty, and now `actual`.
void check_hash(const std::string& what, const std::string& expected, const std::string& actual);

}  // namespace mos::session
