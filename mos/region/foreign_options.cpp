#include "mos/region/foreign_options.h"

#include <algorithm>

#include "mos/diffusion/scheduler_names.h"
#include "mos/diffusion/sigma/sigma_grid.h"

namespace mos::region {

void take_scheduler(const std::string& name, ForeignRecord& record) {
  auto& options = record.options;
  const auto found = diffusion::find_scheduler(name);
  if (!found) {
    record.left_out.push_back(
        fmt::format("the sampler {} is not here; {} is taken", name, options.scheduler));
    return;
  }
  options.scheduler = found->bh1 || found->heun ? name : std::string(found->entry->name);
  options.sampler.sigmas = *found->entry->method == '\0' ? "" : "automatic";
  if (!found->sigmas.empty()) options.sampler.sigmas = found->sigmas;
}

void take_sigmas(const std::string& name, ForeignRecord& record) {
  const auto found = diffusion::find_scheduler(record.options.scheduler);
  const bool has_sigmas = found && *found->entry->method != '\0';
  if (name == "Automatic" || !has_sigmas) return;
  const auto grid = diffusion::find_sigma_grid(name);
  if (grid.empty()) {
    record.left_out.push_back(fmt::format("the schedule {} is not here", name));
  } else {
    record.options.sampler.sigmas = grid;
  }
}

void move_negative_to_root(ForeignRecord& record) {
  record.scene["root_negative_prompt"] = record.negative_prompt;
  record.negative_prompt.clear();
}

double region_weight(double weight, const std::string& prompt, ForeignRecord& record) {
  if (weight > 1.0) {
    record.left_out.push_back(
        fmt::format("the weight {} of \"{}\", which is 1 at most here", weight, prompt));
  }
  return std::min(weight, 1.0);
}

}  // namespace mos::region
