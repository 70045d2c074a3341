#include "convert_model.h"

#include <fmt/core.h>

#include "compute.h"
#include "mos/diffusion/pipeline.h"

namespace mos::app {

namespace fs = std::filesystem;

const char* const kConvertModelHelp =
    "For models:\n"
    "  --dtype TYPE             of the weights: float32, bfloat16 or float16 [as they are]\n"
    "  --variant NAME           of a directory: read ….NAME.safetensors, e.g. fp16\n"
    "  --ema                    of a single file: the averaged weights (model_ema.…)\n"
    "  --prediction-type TYPE   epsilon or v_prediction [as the model says, else a stated guess]\n"
    "  --original-config FILE   .yaml of a single file [the one beside it, if any]\n"
    "  --overwrite              replace --out if it exists\n";

int convert_model(Flags& flags, const fs::path& in, const fs::path& out) {
  checkpoint::ReadOptions read;
  diffusion::SaveOptions save;
  if (const auto dtype = flags.take("dtype")) save.write.dtype = weights_dtype_named(*dtype);
  read.variant = flags.take("variant").value_or("");
  if (flags.take_switch("ema")) read.weights = checkpoint::Weights::kAveraged;
  read.prediction_type = flags.take("prediction-type").value_or("");
  read.config = flags.take("original-config").value_or("");
  if (flags.take_switch("overwrite")) save.existing = Existing::kReplace;
  flags.refuse_unknown();

  auto stored = checkpoint::read_checkpoint(in, read);
  diffusion::check_checkpoint(stored);
  diffusion::save_checkpoint(std::move(stored), out, save);
  fmt::print("{}\n", out.string());
  return 0;
}

}  // namespace mos::app
