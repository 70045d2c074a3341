#include "mos/checkpoint/checkpoint.h"

#include <fmt/core.h>

#include "mos/base/error.h"
#include "mos/checkpoint/no_model.h"

namespace mos::checkpoint {

namespace fs = std::filesystem;

namespace {

/// An option that would have no effect is refused: somebody believes that it has.
void check_applies(const ReadOptions& options, const fs::path& path) {
  const char* wrong = nullptr;
  const bool is_folder = fs::is_directory(path);
  if (is_folder && options.ema) wrong = "--ema is for a single file";
  if (is_folder && !options.original_config.empty())
    wrong = "--original-config is for a single file";
  if (!is_folder && !options.variant.empty()) wrong = "--variant is for a diffusers directory";
  if (wrong == nullptr) return;
  throw Error(ErrorKind::kUsage, fmt::format("{}, and the model {} is a {}; leave it out", wrong,
                                             path.string(), is_folder ? "directory" : "file"));
}

}  // namespace

Checkpoint read_checkpoint(const fs::path& path, const ReadOptions& options) {
  const auto& type = options.prediction_type;
  if (!type.empty() && type != "epsilon" && type != "v_prediction") {
    throw Error(ErrorKind::kUsage,
                fmt::format("--prediction-type is \"{}\", expected epsilon or v_prediction", type));
  }
  if (!fs::exists(path)) throw Error(ErrorKind::kIo, no_model_text(path));
  check_applies(options, path);
  auto checkpoint =
      fs::is_directory(path) ? read_folder(path, options) : read_single_file(path, options);
  if (!type.empty()) checkpoint.scheduler_config["prediction_type"] = type;
  return checkpoint;
}

bool is_single_file(const fs::path& path) { return path.extension() == ".safetensors"; }

}  // namespace mos::checkpoint
