#include "mos/fuse/report.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>

namespace mos::fuse {

namespace {

double now() {
  const auto since_start = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(since_start).count();
}

/// A sum has a crosstalk if all its terms do.
void accumulate(ConceptFit& sum, const ConceptFit& fit, double share) {
  sum.before += share * fit.before;
  sum.after += share * fit.after;
  if (sum.crosstalk && fit.crosstalk) {
    *sum.crosstalk += share * *fit.crosstalk;
    sum.crosstalk_from.resize(fit.crosstalk_from.size());
    for (std::size_t i = 0; i < fit.crosstalk_from.size(); ++i) {
      sum.crosstalk_from[i] += share * fit.crosstalk_from[i];
    }
  } else {
    sum.crosstalk.reset();
    sum.crosstalk_from.clear();
  }
}

Json fit_json(const ConceptFit& fit) {
  Json json = {{"before", fit.before}, {"after", fit.after}};
  if (fit.crosstalk) json["crosstalk"] = *fit.crosstalk;
  return json;
}

/// Of the concept `index`, with who takes from it.
Json concept_json(const ConceptFit& fit, std::size_t index, const std::vector<std::string>& names) {
  auto json = fit_json(fit);
  for (std::size_t i = 0; i < fit.crosstalk_from.size(); ++i) {
    if (i != index) json["crosstalk_from"][names[i]] = fit.crosstalk_from[i];
  }
  return json;
}

Json layer_json(const LayerReport& layer, const std::vector<std::string>& names) {
  Json entry = {{"stage", layer.stage},
                {"layer", layer.layer},
                {"method", layer.method},
                {"rank", layer.rank}};
  for (const auto& [name, value] : layer.facts) entry[name] = value;
  if (layer.fits.empty()) return entry;
  entry["rows"] = layer.rows;
  for (std::size_t i = 0; i < layer.fits.size(); ++i) {
    entry["concepts"][names[i]] = concept_json(layer.fits[i], i, names);
  }
  return entry;
}

}  // namespace

ConceptFit FusionReport::total(const std::string& stage) const {
  ConceptFit sum{.crosstalk = 0.0};
  for (const auto& layer : layers) {
    if (!stage.empty() && layer.stage != stage) continue;
    for (std::size_t i = 0; i < layer.fits.size(); ++i) {
      // A fit is the mean over a concept's own rows; the whole layer's mean weighs them by how many
      // there were.
      const auto share = static_cast<double>(layer.concept_rows[i]) /
                         static_cast<double>(std::max<std::int64_t>(1, layer.rows));
      accumulate(sum, layer.fits[i], share);
    }
  }
  return sum;
}

ConceptFit FusionReport::total_of_concept(std::size_t index) const {
  ConceptFit sum{.crosstalk = 0.0};
  for (const auto& layer : layers) {
    if (index < layer.fits.size()) accumulate(sum, layer.fits[index], 1.0);
  }
  return sum;
}

std::optional<Distance> FusionReport::distance() const {
  if (distances.empty()) return std::nullopt;
  Distance mean{.weight = 0.0};
  for (const auto& one : distances) mean.weight += one.weight;
  for (const auto& one : distances) {
    mean.before += one.before * one.weight / mean.weight;
    mean.after += one.after * one.weight / mean.weight;
  }
  return mean;
}

std::vector<Distance> FusionReport::further() const {
  std::vector<Distance> result;
  for (const auto& one : distances) {
    if (!(one.after <= one.before)) result.push_back(one);
  }
  return result;
}

Json FusionReport::to_json() const {
  Json json;
  const bool measured = std::any_of(layers.begin(), layers.end(),
                                    [](const LayerReport& layer) { return !layer.fits.empty(); });
  json["method"] = method;
  json["concepts"] = concepts;
  // So that whoever finds the file knows what the numbers are.
  json["objective"] =
      "mean squared output error against each concept's own weights, on its own inputs; crosstalk: "
      "mean square of what the other concepts' parts of the update add there, crosstalk_from: each "
      "of them alone";
  if (measured) {
    json["total"] = fit_json(total());
    for (std::size_t i = 0; i < concepts.size(); ++i) {
      json["total_by_concept"][concepts[i]] = concept_json(total_of_concept(i), i, concepts);
    }
  }
  if (!distances.empty()) {
    json["distillation"]["objective"] =
        "mean squared distance to what each concept's own model says, on pictures that were not "
        "taught; everything else in this report is of the layers before that; further: the "
        "concepts "
        "that are further away than before";
    json["distillation"]["further"] = Json::array();
  }
  for (const auto& distance : distances) {
    json["distillation"]["by_concept"][concepts[distance.concept_number]] = {
        {"before", distance.before}, {"after", distance.after}};
  }
  for (const auto& distance : further()) {
    json["distillation"]["further"].push_back(concepts[distance.concept_number]);
  }
  json["stages"] = Json::array();
  for (const auto& stage : stages) {
    const bool merges = std::ranges::any_of(
        layers, [&](const LayerReport& layer) { return layer.stage == stage.stage; });
    if (!merges) continue;
    Json entry = {{"stage", stage.stage}};
    if (measured) entry["total"] = fit_json(total(stage.stage));
    json["stages"].push_back(std::move(entry));
  }
  json["layers"] = Json::array();
  for (const auto& layer : layers) json["layers"].push_back(layer_json(layer, concepts));
  return json;
}

std::string FusionReport::measured() const {
  constexpr double kGigabyte = 1e9;
  double seconds = 0.0;
  std::int64_t memory = 0;
  std::vector<std::string> parts;
  for (const auto& stage : stages) {
    seconds += stage.seconds;
    memory = std::max(memory, stage.peak_memory);
    parts.push_back(fmt::format("{} {:.1f}", stage.stage, stage.seconds));
  }
  return fmt::format("{:.1f} s ({}), at most {:.1f} GB of memory", seconds, fmt::join(parts, ", "),
                     static_cast<double>(memory) / kGigabyte);
}

StageClock::StageClock(std::string stage) : stage_(std::move(stage)), started_(now()) {}

StageReport StageClock::stop() const {
  return {.stage = stage_, .seconds = now() - started_, .peak_memory = peak_.bytes()};
}

}  // namespace mos::fuse
