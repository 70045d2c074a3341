#include "mos/region/a1111_sampling.h"

#include <fmt/core.h>

#include <set>

#include "mos/diffusion/scheduler_names.h"
#include "mos/diffusion/sigma/sigma_grid.h"
#include "mos/region/foreign_options.h"

namespace mos::region {
namespace {

constexpr const char *kSampler = "Sampler", *kSchedule = "Schedule type";
constexpr const char *kEta = "Eta", *kEtaDdim = "Eta DDIM";
constexpr const char *kVariant = "UniPC variant", *kOrder = "UniPC order";
constexpr const char* kUniPcOrder = "2";  // ours

/// Whether A1111's Eta is of `found`: TCD's gamma, our other use of ancestral_eta, has no name
/// there.
bool has_a1111_eta(const diffusion::FoundScheduler& found) {
  return found.adds_noise() && found.name() != "tcd";
}

/// A1111's UniPC is bh1 of third order unless it says otherwise.
void take_unipc(const A1111Fields& fields, ForeignRecord& record) {
  const auto variant = field_of(fields, kVariant, "bh1");
  const auto order = field_of(fields, kOrder, "3");
  if (variant != "bh2") record.options.scheduler = "uni_pc";
  if (variant != "bh1" && variant != "bh2") {
    record.left_out.push_back(fmt::format("{} {} is not here; bh1 is taken", kVariant, variant));
  }
  if (order != kUniPcOrder) {
    record.left_out.push_back(
        fmt::format("{} {} is not here; {} is taken", kOrder, order, kUniPcOrder));
  }
}

/// Before 1.5 A1111 wrote the eta of DDIM as that of the others.
void take_eta(const std::string& key, const std::string& value, ForeignRecord& record) {
  auto& options = record.options;
  const auto found = diffusion::find_scheduler(options.scheduler);
  const bool is_ddim = found && found->name() == "ddim";
  const auto eta = number_in<double>(value);
  if (!eta || !(*eta >= 0.0 && *eta <= 1.0)) {
    record.left_out.push_back(fmt::format("{} is \"{}\", expected 0 to 1", key, value));
  } else if (is_ddim) {
    options.eta = *eta;
  } else if (found && has_a1111_eta(*found) && key == kEta) {
    options.sampler.ancestral_eta = *eta;
  } else {
    record.left_out.push_back(
        fmt::format("{}: {}, which {} has not", key, value, options.scheduler));
  }
}

}  // namespace

bool is_a1111_sampling(const std::string& key) {
  static const std::set<std::string> keys = {kSampler, kSchedule, kEta, kEtaDdim, kVariant, kOrder};
  return keys.contains(key);
}

void take_a1111_sampling(const A1111Fields& fields, ForeignRecord& record) {
  // In this order, whatever that of the line: each looks at what the ones before have found.
  if (fields.contains(kSampler)) take_scheduler(fields.at(kSampler), record);
  if (fields.contains(kSchedule)) take_sigmas(fields.at(kSchedule), record);
  const auto found = diffusion::find_scheduler(record.options.scheduler);
  if (found && std::string(found->entry->name) == "unipc") {
    take_unipc(fields, record);
  } else {
    for (const char* key : {kVariant, kOrder}) {
      if (!fields.contains(key)) continue;
      record.left_out.push_back(fmt::format("{}: {}", key, fields.at(key)));
    }
  }
  for (const char* key : {kEta, kEtaDdim}) {
    if (fields.contains(key)) take_eta(key, fields.at(key), record);
  }
}

std::string a1111_sampler(const SampleOptions& options) {
  const auto& asked = options.sampler.sigmas;
  const auto found = diffusion::find_scheduler(options.scheduler);
  if (!found) {
    return fmt::format("{}: {}", kSampler,
                       options.scheduler.empty() ? "Automatic" : options.scheduler);
  }
  const bool is_row = found->name() == found->entry->name || found->bh1;
  const std::string theirs = is_row ? found->entry->a1111 : "";
  auto text = fmt::format("{}: {}", kSampler, theirs.empty() ? found->name() : theirs);
  if (diffusion::is_automatic(asked) && found->sigmas.empty()) {
    return text + fmt::format(", {}: Automatic", kSchedule);
  }
  const auto sigmas = diffusion::sigmas_for(*found, asked);
  for (const auto& grid : diffusion::sigma_grid_names()) {
    if (sigmas == grid.name) text += fmt::format(", {}: {}", kSchedule, grid.a1111);
  }
  return text;
}

std::string a1111_sampler_extras(const SampleOptions& options) {
  const auto found = diffusion::find_scheduler(options.scheduler);
  if (!found) return "";
  std::string text;
  const double fresh = options.sampler.ancestral_eta;
  if (has_a1111_eta(*found) && fresh != -1.0 && fresh != 1.0)
    text += fmt::format(", {}: {}", kEta, fresh);
  if (options.eta != 0.0) text += fmt::format(", {}: {}", kEtaDdim, options.eta);
  if (std::string(found->entry->name) == "unipc") {
    text +=
        fmt::format(", {}: {}, {}: {}", kVariant, found->bh1 ? "bh1" : "bh2", kOrder, kUniPcOrder);
  }
  return text;
}

}  // namespace mos::region
