#include <fmt/core.h>

#include <filesystem>

#include "command.h"
#include "compute.h"
#include "flags.h"
#include "mos/checkpoint/checkpoint.h"
#include "mos/diffusion/random_model.h"
#include "output_kinds.h"
#include "terminal.h"

namespace mos::app {
namespace {

namespace fs = std::filesystem;

constexpr const char* kUsage =
    "usage: mos init-random --out FOLDER|FILE.safetensors [options]\n"
    "\n"
    "Writes a model with random weights, for tests and measurements at full size: its pictures "
    "are\n"
    "noise. The same options write the same bytes.\n"
    "\n"
    "  --out FOLDER|FILE        a diffusers directory, or one file with the original names\n";

struct Settings {
  std::string config = "sd15";
  std::uint64_t seed = 0;
  std::string dtype = "float16";
};

template <class Visitor>
void describe(Visitor& visit, Settings& settings) {
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

}  // namespace

int run_init_random(int argc, char** argv) {
  Flags flags(argc, argv);
  if (flags.take_switch("help") || argc == 0) {
    fmt::print("{}{}", kUsage, flag_help<Settings>());
    return argc == 0 ? exit_code(ErrorKind::kUsage) : 0;
  }
  Settings settings;
  read_flags(flags, settings);
  const auto out = flags.take("out");
  flags.refuse_unknown();
  flags.refuse_words();
  if (!out || out->empty()) {
    throw Error(ErrorKind::kUsage, "mos init-random needs --out; see mos init-random --help");
  }
  const auto dtype = weights_dtype_named(settings.dtype);
  Outputs outputs;
  if (fs::is_directory(settings.config)) outputs.read("--config", settings.config);
  write_model(outputs, "--out", *out, Existing::kRefuse);
  outputs.check();
  diffusion::write_random_model(
      *out, configs_named(settings.config),
      {.seed = settings.seed, .dtype = dtype, .cancel = cancel_on_interrupt()});
  fmt::print("{}\n", *out);
  return 0;
}

}  // namespace mos::app
