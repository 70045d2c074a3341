#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "mos/base/json.h"
#include "mos/checkpoint/parts.h"
#include "mos/diffusion/noise_schedule.h"

/// Reading a scheduler_config.json so that nothing in it is silently misunderstood.
namespace mos::diffusion {

/// How inference timesteps are spread over training timesteps (arXiv 2305.08891, table 2).
enum class TimestepSpacing { kLinspace, kLeading, kTrailing };

/// The keys of one config, taken one by one by the scheduler that it is for. A key is either taken
/// (honoured), pinned (accepted with the one value we have), known to belong to another scheduler
/// of diffusers (ignored, as diffusers does when a scheduler is made from another's config), or
/// unknown: refuse_unknown() throws.
class SchedulerConfig {
 public:
  SchedulerConfig(Json values, std::string class_name);

  /// The value of `key`, or `fallback` when it is absent or null. Throws kFormat on another type.
  template <typename T>
  T take(const std::string& key, T fallback) {
    taken_.push_back(key);
    return json_value<T>(values_, key, std::move(fallback));
  }

  /// As take, but the value must be one of `allowed`.
  std::string take_choice(const std::string& key, const std::string& fallback,
                          const std::vector<std::string>& allowed);

  /// Throws kFormat naming `key` if it is there with a value other than `only` (or null).
  void pin(const std::string& key, const Json& only);

  /// The keys every scheduler has about its noise schedule.
  NoiseSchedule take_noise_schedule();
  TimestepSpacing take_spacing(const std::string& fallback);
  /// What `leading` timesteps are shifted by. Throws kFormat for more than any table is long.
  std::int64_t take_steps_offset();

  /// Throws kFormat naming the first key that no scheduler has, with the nearest that one has.
  void refuse_unknown() const;

  const std::string& class_name() const { return class_name_; }

 private:
  [[noreturn]] void refuse(const std::string& key, const std::string& expected) const;

  Json values_;
  std::string class_name_;
  std::vector<std::string> taken_;
};

using checkpoint::parse_config;

}  // namespace mos::diffusion
