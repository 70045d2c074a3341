#include "mos/diffusion/scheduler_names.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <utility>

#include "mos/base/error.h"
#include "mos/base/text.h"
#include "mos/base/text_distance.h"
#include "mos/diffusion/sigma/sigma_grid.h"

namespace mos::diffusion {
namespace {

constexpr const char* kMultistep = "DPMSolverMultistepScheduler";

/// Forms of a sampler that only a name asks for.
constexpr const char *kBh1 = "uni_pc", *kHeun = "DPM++ 2M SDE Heun", *kThird = "dpmpp_3m";

/// Endings of names that stand for sigmas: A1111's and, the last, InvokeAI's ("dpmpp_2m_k").
constexpr std::pair<std::string_view, const char*> kEndings[] = {
    {"karras", "karras"}, {"exponential", "exponential"}, {"_k", "karras"}};

/// Letters that say nothing taken out: "DPM++ 2S a", "dpmpp_2s_ancestral" and "k_dpmpp_2s_a" are
/// all dpm++2sa.
std::string plain(std::string_view name) {
  auto text = lower_ascii(std::string(name));
  const auto replace_all = [&text](std::string_view from, std::string_view to) {
    for (auto at = text.find(from); at != text.npos; at = text.find(from, at + to.size())) {
      text.replace(at, from.size(), to);
    }
  };
  // k-diffusion's prefix, and ComfyUI's ending of variants that draw their noise on the GPU.
  if (text.starts_with("k_")) text.erase(0, 2);
  if (text.starts_with("kdpm_")) text.erase(0, 1);  // InvokeAI's
  if (text.ends_with("_gpu")) text.erase(text.size() - 4);
  replace_all("dpmpp", "dpm++");
  replace_all("ancestral", "a");
  for (const char* nothing : {" ", "_", "-"}) replace_all(nothing, "");
  return text;
}

const SchedulerName* row_of(std::string_view name) {
  const auto wanted = plain(name);
  // Rows have empty names where a program lacks the sampler; those match nothing.
  if (wanted.empty()) return nullptr;
  for (const auto& entry : scheduler_table()) {
    if (name == entry.class_name && !name.empty()) return &entry;
    for (const char* known : {entry.name, entry.a1111, entry.comfyui}) {
      if (wanted == plain(known)) return &entry;
    }
  }
  return nullptr;
}

/// Forms of a sampler that have no row of their own.
std::optional<FoundScheduler> form_of(std::string_view name) {
  // ComfyUI's uni_pc is the variant bh1, its uni_pc_bh2 what everybody else calls UniPC.
  if (lower_ascii(std::string(name)) == kBh1)
    return FoundScheduler{row_of("unipc"), "", /*bh1=*/true};
  FoundScheduler found{nullptr, ""};
  if (plain(name) == plain(kHeun)) {
    found.heun = true;
    found.entry = row_of("dpm++2m_sde");
  } else if (plain(name) == plain(kThird)) {
    found.third = true;
    found.entry = row_of("dpm++");
  }
  return found.entry == nullptr ? std::nullopt : std::optional(found);
}

struct NameAndSigmas {
  std::string_view name;
  const char* sigmas;
};

/// "DPM++ 2M Karras", as A1111 wrote both in one until 1.9, in its halves.
std::optional<NameAndSigmas> halves_of(std::string_view name) {
  const auto lower = lower_ascii(std::string(name));
  for (const auto& [ending, sigmas] : kEndings) {
    if (lower.size() <= ending.size() || !lower.ends_with(ending)) continue;
    name.remove_suffix(ending.size());
    while (name.ends_with(' ') || name.ends_with('_')) name.remove_suffix(1);
    return NameAndSigmas{name, sigmas};
  }
  return std::nullopt;
}

/// Names that were understood before there was a table.
std::string_view modern(std::string_view name) {
  return name == "dpmsolver++" ? std::string_view("dpm++") : name;
}

/// The scheduler of a name that says nothing of sigmas.
std::optional<FoundScheduler> without_sigmas(std::string_view name) {
  name = modern(name);
  if (auto found = form_of(name)) return found;
  const auto* entry = row_of(name);
  return entry == nullptr ? std::nullopt : std::optional(FoundScheduler{entry, ""});
}

}  // namespace

const std::vector<SchedulerName>& scheduler_table() {
  static const std::vector<SchedulerName> table = {
      {"euler", "EulerDiscreteScheduler", "Euler", "euler", "", "euler", "normal",
       "straight steps in sigma"},
      {"euler_a", "EulerAncestralDiscreteScheduler", "Euler a", "euler_ancestral", "", "euler_a",
       "normal", "the same with fresh noise in each step"},
      {"heun", "HeunDiscreteScheduler", "Heun", "heun", "", "heun", "normal",
       "second order; two calls in each step"},
      {"dpm2", "KDPM2DiscreteScheduler", "DPM2", "dpm_2", "", "dpm2", "karras",
       "second order, midpoint; two calls in each step"},
      {"dpm2_a", "KDPM2AncestralDiscreteScheduler", "DPM2 a", "dpm_2_ancestral", "", "dpm2_a",
       "karras", "the same with fresh noise"},
      {"dpm++", kMultistep, "DPM++ 2M", "dpmpp_2m", "dpmsolver++", "dpm++2m", "karras",
       "second order with memory; the authors' choice"},
      {"dpm++2m_sde", kMultistep, "DPM++ 2M SDE", "dpmpp_2m_sde", "sde-dpmsolver++", "dpm++2m_sde",
       "exponential", "the same with fresh noise"},
      {"dpm++2s_a", "", "DPM++ 2S a", "dpmpp_2s_ancestral", "", "dpm++2s_a", "karras",
       "second order, fresh noise; two calls in each step"},
      {"dpm++sde", "DPMSolverSDEScheduler", "DPM++ SDE", "dpmpp_sde", "", "dpm++sde", "karras",
       "stochastic, second order; two calls in each step"},
      {"dpm++3m_sde", "", "DPM++ 3M SDE", "dpmpp_3m_sde", "", "dpm++3m_sde", "exponential",
       "stochastic, third order with memory"},
      {"dpmsolver", kMultistep, "", "", "dpmsolver", "", "", "DPM-Solver without ++"},
      {"ddim", "DDIMScheduler", "DDIM", "ddim", "", "", "",
       "Euler in the model's own timesteps; --eta adds noise"},
      {"ddpm", "DDPMScheduler", "", "ddpm", "", "", "", "the process that was trained"},
      {"pndm", "PNDMScheduler", "PLMS", "plms", "", "", "", "linear multistep in timesteps"},
      {"unipc", "UniPCMultistepScheduler", "UniPC", "uni_pc_bh2", "", "unipc", "normal",
       "predictor and corrector, good with few steps"},
      {"lms", "LMSDiscreteScheduler", "LMS", "lms", "", "lms", "normal",
       "fourth order with memory, in sigma"},
      {"lcm", "LCMScheduler", "LCM", "lcm", "", "lcm", "sgm_uniform",
       "for networks of latent consistency: 4 to 8 steps"},
      {"tcd", "TCDScheduler", "TCD", "tcd", "", "", "",
       "for networks of trajectory consistency: 4 to 8 steps"},
  };
  return table;
}

std::string FoundScheduler::name() const {
  return bh1 ? kBh1 : heun ? kHeun : third ? kThird : entry->name;
}

bool FoundScheduler::adds_noise() const {
  const std::string_view ours = entry->name;
  return ours.ends_with("_a") || ours.ends_with("sde") || ours == "tcd";
}

std::optional<FoundScheduler> find_scheduler(std::string_view name) {
  if (auto found = without_sigmas(name)) return found;
  const auto halves = halves_of(name);
  auto found = halves ? without_sigmas(halves->name) : std::nullopt;
  if (!found || !found->entry->has_sigmas()) return std::nullopt;
  found->sigmas = halves->sigmas;
  return found;
}

std::string sigmas_in_name(std::string_view name) {
  const auto halves = halves_of(name);
  return halves ? halves->sigmas : "";
}

std::string sigmas_for(const FoundScheduler& found, const std::string& asked) {
  if (asked.empty()) return found.sigmas;
  if (is_automatic(asked)) return found.sigmas.empty() ? found.entry->automatic : found.sigmas;
  auto grid = find_sigma_grid(asked);
  if (grid.empty()) {
    std::vector<std::string> known = {"automatic"};
    for (const auto& entry : sigma_grid_names()) known.emplace_back(entry.name);
    throw Error(ErrorKind::kUsage, fmt::format("sigmas is \"{}\", expected one of {}{}", asked,
                                               fmt::join(known, ", "), did_you_mean(asked, known)));
  }
  if (found.sigmas.empty() || grid == found.sigmas) return grid;
  throw Error(ErrorKind::kUsage,
              fmt::format("sigmas is {}, but the name of the scheduler asks for {}: leave out "
                          "sigmas, or take scheduler {}",
                          grid, found.sigmas, found.name()));
}

std::vector<std::string> scheduler_names() {
  std::vector<std::string> names;
  for (const auto& entry : scheduler_table()) names.emplace_back(entry.name);
  return names;
}

void check_scheduler_name(const std::string& name, const std::string& option) {
  if (name.empty() || find_scheduler(name)) return;
  std::vector<std::string> known;
  for (const auto& entry : scheduler_table()) {
    for (const char* text : {entry.name, entry.class_name, entry.a1111, entry.comfyui}) {
      if (*text != '\0') known.emplace_back(text);
    }
  }
  throw Error(
      ErrorKind::kUsage,
      fmt::format("{} is \"{}\", expected one of {}, or what diffusers, A1111 or ComfyUI "
                  "call it{}",
                  option, name, fmt::join(scheduler_names(), ", "), did_you_mean(name, known)));
}

std::string scheduler_list() {
  std::string text = fmt::format("{:<12} {:<14} {:<19} {:<32} {}\n", "--scheduler", "A1111",
                                 "ComfyUI", "diffusers", "");
  const auto shown = [](const char* name) { return *name == '\0' ? "-" : name; };
  for (const auto& entry : scheduler_table()) {
    text += fmt::format("{:<12} {:<14} {:<19} {:<32} {}\n", entry.name, shown(entry.a1111),
                        shown(entry.comfyui), shown(entry.class_name), entry.about);
  }
  text += fmt::format("\n{:<12} {:<14}\n", "--sigmas", "A1111");
  for (const auto& entry : sigma_grid_names()) {
    text += fmt::format("{:<12} {:<14} {}\n", entry.name, entry.a1111, entry.about);
  }
  text += fmt::format(
      "{:<12} {:<14} {}\n\nWithout --sigmas a scheduler spreads its steps as the model's "
      "scheduler_config.json says.\nThose that have no sigmas walk whole timesteps: ",
      "automatic", "Automatic", "what A1111 takes for that scheduler");
  std::vector<std::string> without;
  for (const auto& entry : scheduler_table()) {
    if (!entry.has_sigmas()) without.emplace_back(entry.name);
  }
  return text + fmt::format("{}.\n", fmt::join(without, ", "));
}

}  // namespace mos::diffusion
