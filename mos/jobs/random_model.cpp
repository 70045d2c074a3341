#include "mos/jobs/random_model.h"

#include <filesystem>

#include "mos/base/error.h"
#include "mos/base/outputs.h"
#include "mos/checkpoint/checkpoint.h"
#include "mos/diffusion/random_model.h"
#include "mos/nn/compute.h"
#include "mos/session/output_kinds.h"

namespace mos::jobs {
namespace {

checkpoint::ModelConfigs configs_named(const std::string& name) {
  if (!std::filesystem::is_directory(name)) return checkpoint::reference_configs(name);
  const auto model = checkpoint::read_checkpoint(name);
  checkpoint::ModelConfigs configs{.networks = {}, .scheduler = model.scheduler_config};
  for (const auto& [part, network] : model.networks) configs.networks[part] = network.config;
  return configs;
}

}  // namespace

void check(const RandomModelJob& job) {
  if (job.out.empty()) {
    throw Error(ErrorKind::kUsage, "mos init-random needs --out; see mos init-random --help");
  }
  check_fields(job);
  nn::weights_dtype_named(job.dtype);
}

void run(const RandomModelJob& job, const JobContext& context) {
  const log::ScopedSink sink(context.log);
  check(job);
  Outputs outputs;
  if (std::filesystem::is_directory(job.config)) outputs.read("--config", job.config);
  session::write_model(outputs, "--out", job.out, Existing::kRefuse);
  outputs.check();
  diffusion::write_random_model(
      job.out, configs_named(job.config),
      {.seed = job.seed, .dtype = nn::weights_dtype_named(job.dtype), .cancel = context.cancel});
  tell_result(context, job.out);
}

}  // namespace mos::jobs
