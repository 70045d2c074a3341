#include "mos/fuse/options.h"

#include <fmt/core.h>

#include <algorithm>
#include <set>

#include "mos/base/factor.h"
#include "mos/base/require.h"
#include "mos/concepts/tokens.h"

namespace mos::fuse {

namespace {

/// Names of the options that describe() shows for `method`.
std::set<std::string> options_with(const MethodInfo& method) {
  FuseOptions options{.method = std::string(method.name)};
  std::set<std::string> names;
  const auto written = write_options(options);
  for (const auto& [name, value] : written.items()) names.insert(name);
  return names;
}

}  // namespace

void check_prompts(const std::string& option, const std::vector<std::string>& prompts) {
  require(!prompts.empty(), option + " must name at least one prompt with <TOK> in it");
  for (const auto& prompt : prompts) {
    require(
        prompt.find(concepts::kPlaceholder) != std::string::npos,
        fmt::format("the prompt \"{}\" of {} lacks <TOK>, where the concept's words go (a comma "
                    "ends a prompt; the list of a file for --config may have some within)",
                    prompt, option));
  }
}

const char* weights_help(Weighting weighting) {
  switch (weighting) {
    case Weighting::kFractions:
      return "the concepts' shares, one for each (default: equal)";
    case Weighting::kFactors:
      return "factors on the concepts' updates, one for each (default: 1)";
    case Weighting::kImportance:
      break;
  }
  return "how much each concept's inputs count, one for each (default: 1)";
}

std::vector<std::string> takers_of(const std::string& option) {
  std::vector<std::string> takers;
  for (const auto& info : methods()) {
    if (options_with(info).contains(option)) takers.emplace_back(info.name);
  }
  return takers;
}

void check_options(const FuseOptions& options, std::size_t concepts) {
  require(concepts > 0, "there is no concept to fuse; name at least one concept file");
  check_fields(options);
  for (const auto weight : options.weights) check_factor("--weights", weight);
  const auto method = make_method(options.method, options.of_method);
  concept_weights(method_info(options.method).weighting, options.weights, concepts);
  if (method->needs().inputs != Recorded::kNothing)
    check_prompts("prompts", options.record.prompts);
}

}  // namespace mos::fuse
