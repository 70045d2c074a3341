#include "mos/fuse/method.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "mos/base/describe.h"
#include "mos/base/error.h"
#include "mos/base/text_distance.h"

namespace mos::fuse {

// Each in a file of methods/.
std::unique_ptr<MergeMethod> make_custom_diffusion();
std::unique_ptr<MergeMethod> make_dare();
std::unique_ptr<MergeMethod> make_distill();
std::unique_ptr<MergeMethod> make_gradient();
std::unique_ptr<MergeMethod> make_iteris();
std::unique_ptr<MergeMethod> make_lbfgs();
std::unique_ptr<MergeMethod> make_loraclr();
std::unique_ptr<MergeMethod> make_magnitude();
std::unique_ptr<MergeMethod> make_ssr();
std::unique_ptr<MergeMethod> make_svd();
std::unique_ptr<MergeMethod> make_ties();
std::unique_ptr<MergeMethod> make_weighted_sum();

namespace {

constexpr auto kMethods = std::to_array<MethodInfo>({
    {.name = "gradient",
     .help = "gradient fusion: what each concept's inputs ask for, solved exactly",
     .weighting = Weighting::kImportance,
     .make = make_gradient},
    {.name = "distill",
     .help = "gradient fusion, then all layers together: taught by the concepts' own models",
     .weighting = Weighting::kImportance,
     .forms = Forms::kLowRank,
     .make = make_distill},
    {.name = "lbfgs",
     .help = "gradient fusion as the authors' code runs it, L-BFGS that is stopped early",
     .weighting = Weighting::kImportance,
     .make = make_lbfgs},
    {.name = "weight",
     .help = "weight fusion (Eq. 2): the mean of the updates",
     .weighting = Weighting::kFractions,
     .make = make_weighted_sum},
    {.name = "sum",
     .help = "the sum of the updates",
     .weighting = Weighting::kFactors,
     .make = make_weighted_sum},
    {.name = "concat",
     .help = "the sum as one LoRA with the concepts' factors side by side",
     .weighting = Weighting::kFactors,
     .forms = Forms::kLowRank,
     .make = make_weighted_sum},
    {.name = "svd",
     .help = "the sum, cut to its leading singular values",
     .weighting = Weighting::kFactors,
     .make = make_svd},
    {.name = "ties",
     .help = "TIES: largest entries, one sign for each, the mean of those that agree",
     .weighting = Weighting::kFactors,
     .make = make_ties},
    {.name = "dare",
     .help = "DARE: random entries, scaled up, then their sum or TIES",
     .weighting = Weighting::kFactors,
     .make = make_dare},
    {.name = "magnitude",
     .help = "the sum of the largest entries",
     .weighting = Weighting::kFactors,
     .make = make_magnitude},
    {.name = "custom_diffusion",
     .help = "keys and values for each concept's words, least change for ordinary captions",
     .weighting = Weighting::kImportance,
     .make = make_custom_diffusion},
    {.name = "ssr",
     .help = "SSR-Merge: a router between the LoRAs, from what they read",
     .weighting = Weighting::kImportance,
     .forms = Forms::kLowRank,
     .make = make_ssr},
    {.name = "iteris",
     .help = "IterIS: gradient fusion on inputs that are recorded again on the merged model",
     .weighting = Weighting::kImportance,
     .make = make_iteris},
    {.name = "loraclr",
     .help = "LoRACLR: near each concept's own outputs, away from the others'",
     .weighting = Weighting::kFractions,
     .make = make_loraclr},
});

[[noreturn]] void throw_bad_weights(std::span<const double> given, std::size_t concepts,
                                    const char* wanted) {
  throw Error(ErrorKind::kUsage,
              fmt::format("the weights are {}; for {} concepts they must be {} numbers, {}",
                          fmt::join(given, ", "), concepts, concepts, wanted));
}

}  // namespace

std::span<const MethodInfo> methods() { return kMethods; }

std::vector<std::string> method_names() {
  std::vector<std::string> result;
  for (const auto& info : kMethods) result.emplace_back(info.name);
  return result;
}

const MethodInfo& method_info(const std::string& name) {
  const auto found =
      std::ranges::find_if(kMethods, [&](const MethodInfo& info) { return info.name == name; });
  if (found != kMethods.end()) return *found;
  throw Error(ErrorKind::kUsage,
              fmt::format("method must be one of {}, not \"{}\"{}", fmt::join(method_names(), ", "),
                          name, did_you_mean(name, method_names())));
}

std::unique_ptr<MergeMethod> make_method(const std::string& name, const Json& options) {
  // Through a visitor that is virtual: methods stay in their files, with their options.
  auto method = method_info(name).make();
  const auto origin = "the method " + name;
  JsonReader reader(options, origin);
  FieldVisitorOf visitor(reader);
  method->describe(visitor);
  reader.refuse_unknown();
  FieldChecker checker;
  FieldVisitorOf checked(checker);
  method->describe(checked);
  method->check();
  return method;
}

Json options_of(MergeMethod& method) {
  JsonWriter writer;
  FieldVisitorOf visitor(writer);
  method.describe(visitor);
  return writer.take();
}

std::vector<double> concept_weights(Weighting weighting, std::span<const double> given,
                                    std::size_t concepts) {
  std::vector<double> weights(given.begin(), given.end());
  if (given.empty()) weights.assign(concepts, 1.0);
  const bool numbers = weights.size() == concepts &&
                       std::ranges::all_of(weights, [](double w) { return std::isfinite(w); });
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  if (weighting == Weighting::kFactors) {
    if (!numbers) throw_bad_weights(given, concepts, "one for each");
    return weights;
  }
  if (!numbers || sum <= 0.0 || !std::isfinite(sum) || std::ranges::min(weights) < 0.0) {
    throw_bad_weights(given, concepts, "none negative and not all zero");
  }
  // Importances stay as they are: only their ratios matter to a solver, but ridges are relative to
  // their sum.
  if (weighting == Weighting::kFractions) {
    for (double& weight : weights) weight /= sum;
  }
  return weights;
}

}  // namespace mos::fuse
