#include <fmt/core.h>

#include <filesystem>

#include "command.h"
#include "mos/base/describe.h"
#include "mos/checkpoint/checkpoint.h"
#include "mos/diffusion/random_model.h"
#include "mos/nn/compute.h"
#include "mos/session/output_kinds.h"

namespace mos::app {
namespace {

namespace fs = std::filesystem;

constexpr const char* kUsage =
    "usage: mos init-random --out FOLDER|FILE.safetensors [options]\n"
    "\n"
    "Writes a model with random weights, for tests and measurements at full size: its pictures "
    "are\n"
    "noise. The same options write the same bytes.\n"
    "\n";

struct Settings {
  std::string out;
  std::string config = "sd15";
  std::uint64_t seed = 0;
  std::string dtype = "float16";
};

template <class Visitor>
void describe(Visitor& visit, Settings& settings) {
  visit("out", settings.out, "a diffusers directory, or one file with the original names",
        a_path());
  visit("config", settings.config, "sd15, sd21, or a diffusers directory whose configs it takes");
  visit("seed", settings.seed, "of the weights");
  visit("dtype", settings.dtype, "of the weights: float32, bfloat16 or float16");
}

checkpoint::ModelConfigs configs_named(const std::string& name) {
  if (!fs::is_directory(name)) return checkpoint::reference_configs(name);
  const auto model = checkpoint::read_checkpoint(name);
  checkpoint::ModelConfigs configs{.networks = {}, .scheduler = model.scheduler_config};
  for (const auto& [part, network] : model.networks) configs.networks[part] = network.config;
  return configs;
}

std::string help() { return kUsage + flag_help<Settings>(); }

int run(Flags& flags, const Terminal&) {
  Settings settings;
  flags.read(settings);
  flags.refuse_words();
  if (settings.out.empty()) {
    throw Error(ErrorKind::kUsage, "mos init-random needs --out; see mos init-random --help");
  }
  const auto dtype = nn::weights_dtype_named(settings.dtype);
  Outputs outputs;
  if (fs::is_directory(settings.config)) outputs.read("--config", settings.config);
  session::write_model(outputs, "--out", settings.out, Existing::kRefuse);
  outputs.check();
  diffusion::write_random_model(
      settings.out, configs_named(settings.config),
      {.seed = settings.seed, .dtype = dtype, .cancel = cancel_on_interrupt()});
  fmt::print("{}\n", settings.out);
  return 0;
}

}  // namespace

const Command kInitRandom = {.name = "init-random",
                             .summary = "a model of full size with random weights",
                             .options = options_of<Settings>,
                             .help = help,
                             .run = run};

}  // namespace mos::app
