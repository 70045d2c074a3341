#include "mos/fuse/prepare.h"

#include <fmt/core.h>

#include "mos/base/error.h"
#include "mos/concepts/lora.h"
#include "mos/fuse/sources.h"

namespace mos::fuse {

using concepts::ConceptTokens;
using diffusion::Model;

void check_forms(const MethodInfo& method, const ConceptSource& source) {
  if (method.forms == Forms::kAny) return;
  for (const auto& [part, updates] : source.delta.updates) {
    for (const auto& [layer, update] : updates) {
      if (update.as_pair()) continue;
      throw Error(ErrorKind::kUsage,
                  fmt::format("the method {} merges LoRA pairs alone, and {} has {} for {}; take "
                              "another method, such as gradient or svd",
                              method.name, source.name, update.shapes(), layer));
    }
  }
}

void check_fit(Model& model, const std::vector<ConceptSource>& sources) {
  for (const auto& source : sources) {
    for (const auto& [part, updates] : source.delta.updates) {
      concepts::find_layers(*model.network(part), updates,
                            fmt::format("{} ({})", source.name, name_of(part)));
    }
  }
}

ConceptTokens add_words(Model& model, const std::vector<ConceptSource>& sources) {
  auto tokens = concepts::known_words(model);
  std::vector<std::string> taken;
  for (const auto& word : tokens.words()) taken.push_back(word.word);
  // A fused model may be fused once more: its own words are taken.
  check_words(sources, taken);
  std::vector<concepts::ConceptWord> words;
  for (const auto& source : sources) {
    words.insert(words.end(), source.delta.words.begin(), source.delta.words.end());
  }
  tokens.add(words, model.towers);
  if (!tokens.words().empty()) model.concepts = tokens.to_json();
  return tokens;
}

std::vector<double> bias_shares(const FuseOptions& options, std::size_t concepts) {
  const auto weighting = method_info(options.method).weighting;
  // An importance weighs what a layer reads, and a bias reads nothing.
  if (weighting == Weighting::kImportance) {
    return concept_weights(Weighting::kFractions, options.weights, concepts);
  }
  return concept_weights(weighting, options.weights, concepts);
}

std::vector<ConceptSource> with_kept(std::vector<ConceptSource> sources,
                                     const MergeMethod& method) {
  for (const auto& phrase : method.needs().kept_phrases) {
    sources.push_back({.name = fmt::format("the base's \"{}\"", phrase), .phrase = phrase});
  }
  return sources;
}

FuseOptions weighing(FuseOptions options, std::size_t concepts) {
  if (!options.weights.empty()) options.weights.resize(concepts, 1.0);
  return options;
}

}  // namespace mos::fuse
