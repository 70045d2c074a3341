#include "mos/jobs/convert_model.h"

#include <fmt/core.h>

#include "mos/base/error.h"
#include "mos/base/outputs.h"
#include "mos/checkpoint/describe.h"
#include "mos/checkpoint/family.h"
#include "mos/diffusion/model.h"
#include "mos/io/finite.h"
#include "mos/io/tensor_file.h"
#include "mos/nn/compute.h"
#include "mos/session/output_kinds.h"

namespace mos::jobs {

bool is_model(const std::filesystem::path& path) {
  if (!std::filesystem::is_directory(path)) {
    return checkpoint::identify(io::read_tensor_file(path).tensors).has_value();
  }
  if (checkpoint::is_model_folder(path)) return true;
  throw Error(
      ErrorKind::kFormat,
      fmt::format("{} is a folder without model_index.json, so no model; what is no model is "
                  "one file, such as adapter_model.safetensors: name that",
                  path.string()));
}

void check(const ConvertModelJob& job) {
  if (job.out.empty()) {
    throw Error(ErrorKind::kUsage, "mos convert needs --out FOLDER or --out FILE.safetensors");
  }
  check_fields(job);
  if (!job.dtype.empty()) nn::weights_dtype_named(job.dtype);
}

void run(const ConvertModelJob& job, const JobContext& context) {
  const log::ScopedSink sink(context.log);
  check(job);
  diffusion::SaveOptions save;
  if (!job.dtype.empty()) save.write.dtype = nn::weights_dtype_named(job.dtype);
  if (job.overwrite) save.existing = Existing::kReplace;
  Outputs outputs;
  outputs.read("the model", job.in);
  outputs.read("--original-config", job.read.original_config);
  outputs.read("--config", context.config);
  session::write_model(outputs, "--out", job.out, save.existing);
  outputs.check();

  auto stored = checkpoint::read_checkpoint(job.in, job.read);
  diffusion::check_checkpoint(stored);
  save.write.cancel = context.cancel;
  // Weights that are only copied pass no other check: a NaN would travel into every later model.
  save.write.values = [&job](const std::string& name, const torch::Tensor& tensor) {
    io::check_finite(tensor, job.in, name);
    return tensor;
  };
  diffusion::save_checkpoint(std::move(stored), job.out, save);
  tell_result(context, job.out);
}

}  // namespace mos::jobs
