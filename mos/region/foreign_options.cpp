#include "mos/region/foreign_options.h"

#include <algorithm>

#include "mos/diffusion/scheduler_names.h"
#include "mos/diffusion/sigma/sigma_grid.h"

namespace mos::region {

namespace {

/// What is painted on where the options say sigmas `asked`, for people.
std::string called_sigmas(const diffusion::FoundScheduler& found, const std::string& asked) {
  const auto sigmas = diffusion::sigmas_for(found, asked);
  return sigmas.empty() ? "the model's own" : sigmas;
}

/// Steps that are even in time, which are those of samplers that have no sigmas.
bool is_even(const std::string& name) {
  const auto plain = lower_ascii(name);
  return diffusion::is_automatic(name) || diffusion::find_sigma_grid(name) == "normal" ||
         plain == "ddim" || plain == "ddim_uniform";
}

}  // namespace

std::string field_of(const A1111Fields& fields, const std::string& key,
                     const std::string& fallback) {
  const auto found = fields.find(key);
  return found == fields.end() ? fallback : found->second;
}

void take_scheduler(const std::string& name, ForeignRecord& record) {
  auto& options = record.options;
  const auto found = diffusion::find_scheduler(name);
  if (!found) {
    // Its schedule is not lost with it.
    const auto sigmas = diffusion::sigmas_in_name(name);
    if (!sigmas.empty()) options.sampler.sigmas = sigmas;
    record.left_out.push_back(
        fmt::format("the sampler {} is not here; {} is taken{}", name, options.scheduler,
                    sigmas.empty() ? "" : fmt::format(" with sigmas {}", sigmas)));
    return;
  }
  options.scheduler = found->name();
  options.sampler.sigmas = found->entry->has_sigmas() ? "automatic" : "";
  if (!found->sigmas.empty()) options.sampler.sigmas = found->sigmas;
}

void take_sigmas(const std::string& name, ForeignRecord& record) {
  auto& sigmas = record.options.sampler.sigmas;
  const auto& scheduler = record.options.scheduler;
  const auto found = diffusion::find_scheduler(scheduler);
  if (!found || !found->entry->has_sigmas()) {
    if (is_even(name)) return;
    record.left_out.push_back(
        fmt::format("the schedule {}: {} walks the model's own timesteps", name, scheduler));
    return;
  }
  if (diffusion::is_automatic(name)) return;
  const auto grid = diffusion::find_sigma_grid(name);
  if (!grid.empty()) {
    sigmas = grid;
    return;
  }
  record.left_out.push_back(fmt::format("the schedule {} is not here; for {} {} is taken", name,
                                        scheduler, called_sigmas(*found, sigmas)));
}

void take_skipped_layers(std::int64_t skipped, ForeignRecord& record) {
  constexpr std::int64_t kMost =
      23;  // all but the first of the largest encoder, Stable Diffusion 2's
  if (skipped >= 0 && skipped <= kMost) {
    record.options.sampler.clip_skip = skipped + 1;
  } else {
    record.left_out.push_back(
        fmt::format("that the text encoder's last {} layers are skipped", skipped));
  }
}

void name_embedding(const std::string& name, ForeignRecord& record) {
  record.left_out.push_back(fmt::format(
      "the embedding {}: without its file the word is plain text; give that with --concept "
      "{}.safetensors",
      name, name));
}

void name_weights(ForeignRecord& record) {
  record.left_out.push_back(
      "how weights move words there, towards and away from the empty text; here they multiply, and "
      "the mean is put back, as in A1111");
}

void rewrite_prompts(ForeignRecord& record, InOurs prompt_in_ours, InOurs negative_in_ours) {
  record.prompt = prompt_in_ours(record.prompt);
  record.negative_prompt = negative_in_ours(record.negative_prompt);
  const auto rewrite = [](Json& holder, const char* key, InOurs in_ours) {
    const auto found = holder.find(key);
    if (found != holder.end()) *found = in_ours(found->get<std::string>());
  };
  rewrite(record.scene, "root_prompt", prompt_in_ours);
  rewrite(record.scene, "root_negative_prompt", negative_in_ours);
  if (!record.scene.contains("regions")) return;
  for (auto& region : record.scene["regions"]) {
    rewrite(region, "prompt", prompt_in_ours);
    rewrite(region, "negative_prompt", negative_in_ours);
  }
}

void move_negative_to_root(ForeignRecord& record) {
  record.scene["root_negative_prompt"] = record.negative_prompt;
  record.negative_prompt.clear();
}

double region_weight(double weight, const std::string& prompt, ForeignRecord& record) {
  constexpr double kLeast = 0.01;  // all but nothing
  if (weight >= kLeast && weight <= 1.0) return weight;
  record.left_out.push_back(
      fmt::format("the weight {} of \"{}\", which is {} to 1 here", weight, prompt, kLeast));
  return std::clamp(weight, kLeast, 1.0);
}

}  // namespace mos::region
