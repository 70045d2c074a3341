#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "mos/base/progress.h"
#include "mos/concepts/concept_delta.h"
#include "mos/concepts/key_report.h"
#include "mos/concepts/tokens.h"
#include "mos/diffusion/model.h"
#include "mos/fuse/options.h"
#include "mos/fuse/report.h"

/// Centre-node concept fusion from concept files to one model.
namespace mos::fuse {

/// One client's contribution.
struct ConceptSource {
  std::string name;  ///< For messages and the report, e.g. the file's stem.
  concepts::ConceptDelta delta;
  /// How the concept stands in a prompt; empty: its words. May hold plain words too
  /// ("<potter1> <potter2> man").
  /// A LoRA without words of its own has its trigger words here ("sks dog").
  std::string phrase;
  /// By network, the authors' alphas; one without counts fully.
  std::map<checkpoint::Part, double> scales = {};

  concepts::KeyReport keys = {};    ///< What became of the file's keys.
  std::filesystem::path file = {};  ///< Empty: it came from no file.

  double scale(checkpoint::Part part) const {
    const auto found = scales.find(part);
    return found == scales.end() ? 1.0 : found->second;
  }
  std::string prompt_phrase() const { return phrase.empty() ? delta.phrase() : phrase; }
};

struct FusionResult {
  /// All words and the layers' updates: plain LoRA where the method finds one (gradient fusion one
  /// of rank Σr), full differences where it does not or where a concept has another form (LoHa,
  /// LoKr, DoRA, …). Merged at scale 1 into the base model it gives the fused model's weights, bit
  /// for bit.
  concepts::ConceptDelta delta;
  FusionReport report;
};

/// Throws mos::Error: kUsage for impossible options and for forms that the method does not merge,
/// kMismatch naming the first of the concepts that does not fit the model.
void check_concepts(diffusion::Model& model, const std::vector<ConceptSource>& sources,
                    const FuseOptions& options);

/// Whether distillation follows: the method has it, and there is somebody to learn from. A concept
/// that is alone has nothing to learn, and words alone change nothing of a U-Net.
bool distills(const Needs& needs, const std::vector<ConceptSource>& sources);

/// Fuses `sources` into `model`: its text towers, U-Net and list of concept words
/// become those of the fused model. Memory does not grow with the number of concepts, but for the
/// result and for what distillation keeps of each (see Lessons). On an exception the model is left
/// half-way: load it again. Required: nobody else uses the model meanwhile, whose weights are each
/// concept's in turn.
///
/// There are three stages, each on top of what the one before wrote: (1) text towers, (2) keys and
/// values of cross-attention, (3) all other layers. In each, the inputs that the method looks at
/// are recorded concept by concept, then it merges layer by layer. Distillation begins before them,
/// with lessons of the concepts' own models, and ends after them, see distill(). Throws mos::Error:
/// kUsage for impossible options or words that clash, kMismatch for concepts that do not fit the
/// model, kCancelled.
FusionResult fuse_concepts(diffusion::Model& model, const std::vector<ConceptSource>& sources,
                           const FuseOptions& options, const ProgressCallback& progress = {},
                           const CancelToken* cancel = nullptr);

}  // namespace mos::fuse
