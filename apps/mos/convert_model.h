#pragma once

#include <filesystem>
#include <string>

#include "mos/base/describe.h"
#include "mos/checkpoint/checkpoint.h"

namespace mos::app {

struct ConvertModelOptions {
  std::string dtype;
  bool overwrite = false;
  checkpoint::ReadOptions read;
};

template <class Visitor>
void describe(Visitor& visit, ConvertModelOptions& o) {
  visit("dtype", o.dtype, "of the weights: float32, bfloat16 or float16 (empty: as they are)");
  visit("overwrite", o.overwrite, "replace --out if it exists");
  describe(visit, o.read);
}

/// `mos convert` for base models: `in` as a diffusers directory or a single file at `out`.
/// Throws kIo, kFormat, kMismatch for what is no model that we build.
void convert_model(const std::filesystem::path& in, const std::filesystem::path& out,
                   const ConvertModelOptions& options);

}  // namespace mos::app
