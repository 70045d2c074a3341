#include "mos/study/options.h"

#include <fmt/core.h>

#include "mos/base/error.h"
#include "mos/base/require.h"
#include "mos/diffusion/scheduler_names.h"
#include "mos/fuse/method.h"
#include "mos/session/sample_defaults.h"
#include "mos/study/parts.h"
#include "mos/tune/plan.h"

namespace mos::study {

std::string folder_of(const StudyOptions& options) {
  if (!options.out.empty()) return options.out;
  return options.quick ? "out/study-quick" : "out/study";
}

StudyOptions complete_options(StudyOptions o) {
  o.out = folder_of(o);
  const auto fill = [&o](std::int64_t& value, std::int64_t full, std::int64_t quick) {
    if (value == 0) value = o.quick ? quick : full;
  };
  fill(o.prompts_each, 20, 3);  // as in the paper
  fill(o.pictures, 8, 4);
  fill(o.tune_seeds, 3, 1);
  fill(o.steps, 30, 16);
  const auto of_base = session::sample_defaults(o.base);
  if (o.guidance_scale == 0.0) o.guidance_scale = of_base.guidance_scale;
  if (!o.perturbed_attention) {
    o.perturbed_attention = session::perturbed_attention_at(o.guidance_scale, of_base);
  }
  if (o.parts.empty()) {
    o.parts = o.quick ? std::vector<std::string>{"table1", "table2a", "regions"} : part_names();
  }
  return o;
}

void check(const StudyOptions& options) {
  check_fields(options);
  tune::method_named(options.method);
  for (const auto& name : options.parts) part_named(name);
  diffusion::check_scheduler_name(options.scheduler, "--scheduler");
  require(options.guidance_scale == 0.0 || options.guidance_scale > 1.0 ||
              options.perturbed_attention.value_or(0.0) == 0.0,
          fmt::format("--perturbed-attention is of guidance, and a --guidance-scale of {} is none",
                      options.guidance_scale));
  if (!options.answers.empty()) return;
  if (options.concepts.empty()) {
    throw Error(ErrorKind::kUsage,
                "a study needs --concepts, folders as mos tune reads them; ./run study draws some");
  }
}

}  // namespace mos::study
