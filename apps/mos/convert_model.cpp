#include "convert_model.h"

#include <fmt/core.h>

#include "compute.h"
#include "mos/diffusion/model.h"
#include "mos/io/finite.h"
#include "output_kinds.h"
#include "terminal.h"

namespace mos::app {

namespace fs = std::filesystem;

std::string convert_model_help() {
  return "For models:\n"
         "  --dtype TYPE             of the weights: float32, bfloat16 or float16 [as they are]\n"
         "  --overwrite              replace --out if it exists\n" +
         flag_help<checkpoint::ReadOptions>();
}

int convert_model(Flags& flags, const fs::path& in, const fs::path& out) {
  checkpoint::ReadOptions read;
  diffusion::SaveOptions save;
  if (const auto dtype = flags.take("dtype")) save.write.dtype = weights_dtype_named(*dtype);
  read_flags(flags, read);
  if (flags.take_switch("overwrite")) save.existing = Existing::kReplace;
  flags.refuse_unknown();
  Outputs outputs;
  outputs.read("the model", in);
  outputs.read("--original-config", read.original_config);
  write_model(outputs, "--out", out, save.existing);
  outputs.check();

  auto stored = checkpoint::read_checkpoint(in, read);
  diffusion::check_checkpoint(stored);
  save.write.cancel = cancel_on_interrupt();
  save.write.values = [&in](const std::string& name, const torch::Tensor& tensor) {
    io::check_finite(tensor, in.string(), name);
    return tensor;
  };
  diffusion::save_checkpoint(std::move(stored), out, save);
  fmt::print("{}\n", out.string());
  return 0;
}

}  // namespace mos::app
