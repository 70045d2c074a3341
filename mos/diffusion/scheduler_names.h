#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// What schedulers are called, here and elsewhere.
namespace mos::diffusion {

struct SchedulerName {
  const char* name;        ///< Ours.
  const char* class_name;  ///< Of diffusers; empty: it has none.
  const char* a1111;       ///< Empty: it has none.
  const char* comfyui;     ///< The same.
  const char* algorithm;   ///< `algorithm_type` that the name asks for; empty leaves the config's.
  const char* method;      ///< On sigmas, see make_sigma_method; empty: it has none.
  const char* automatic;   ///< The sigmas that A1111 takes by itself.
  const char* about;

  /// Whether it walks noise levels of its own choice; the others walk whole timesteps.
  bool has_sigmas() const { return *method != '\0'; }
};

const std::vector<SchedulerName>& scheduler_table();

/// A row, and the sigmas that the name asks for too ("DPM++ 2M Karras"), or "".
struct FoundScheduler {
  const SchedulerName* entry;
  std::string sigmas;
  bool bh1 = false;    ///< ComfyUI's uni_pc, where uni_pc_bh2 is ours.
  bool heun = false;   ///< "DPM++ 2M SDE Heun".
  bool third = false;  ///< InvokeAI's dpmpp_3m: dpm++ of third order.

  /// A name that finds the same without its sigmas.
  std::string name() const;
  /// Whether its steps add fresh noise, which ancestral_eta scales.
  bool adds_noise() const;
};

/// The scheduler of any of the names in the table, whatever their case, or nothing.
std::optional<FoundScheduler> find_scheduler(std::string_view name);

/// The sigmas that the ending of a name asks for, also of a scheduler that nobody has, or "".
std::string sigmas_in_name(std::string_view name);

/// The grid that `found` is painted on where `asked` is its option sigmas, or "" for the steps of
/// the model's config. Throws kUsage for sigmas that nobody has, and where the name asks for
/// others.
std::string sigmas_for(const FoundScheduler& found, const std::string& asked);

/// Our names; for help texts.
std::vector<std::string> scheduler_names();

/// Throws kUsage for a scheduler that nobody has, with the nearest name. `option` is what to call
/// it. The empty name is the model's own.
void check_scheduler_name(const std::string& name, const std::string& option);

/// The table for people to read.
std::string scheduler_list();

}  // namespace mos::diffusion
