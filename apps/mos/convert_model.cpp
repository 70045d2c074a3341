#include "convert_model.h"

#include <fmt/core.h>

#include "mos/base/outputs.h"
#include "mos/diffusion/model.h"
#include "mos/io/finite.h"
#include "mos/nn/compute.h"
#include "mos/session/output_kinds.h"
#include "terminal.h"

namespace mos::app {

namespace fs = std::filesystem;

void convert_model(const fs::path& in, const fs::path& out, const ConvertModelOptions& options) {
  diffusion::SaveOptions save;
  if (!options.dtype.empty()) save.write.dtype = nn::weights_dtype_named(options.dtype);
  if (options.overwrite) save.existing = Existing::kReplace;
  Outputs outputs;
  outputs.read("the model", in);
  outputs.read("--original-config", options.read.original_config);
  session::write_model(outputs, "--out", out, save.existing);
  outputs.check();

  auto stored = checkpoint::read_checkpoint(in, options.read);
  diffusion::check_checkpoint(stored);
  save.write.cancel = cancel_on_interrupt();
  save.write.values = [&in](const std::string& name, const torch::Tensor& tensor) {
    io::check_finite(tensor, in.string(), name);
    return tensor;
  };
  diffusion::save_checkpoint(std::move(stored), out, save);
  fmt::print("{}\n", out.string());
}

}  // namespace mos::app
