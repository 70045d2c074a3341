#pragma once

#include <filesystem>
#include <string>

#include "mos/base/field_rules.h"

namespace mos::pretrain {

struct ImportOptions {
  std::string from;  ///< What export_base has written.
};

template <class Visitor>
void describe(Visitor& visit, ImportOptions& options) {
  visit("from", options.from, "the exported base to go on from, for example base/", a_path());
}

/// Puts the VAE and the judge of an exported base where their stages would have left them, and its
/// record beside them, so that a U-Net can go on from the exported one (UNetOptions::start_from)
/// and be measured. `base` holds its data already (Dataset::prepare). Throws kUsage where a stage
/// of `base` would be replaced, kMismatch where the pictures of `base` are told with other tokens,
/// kIo.
void import_base(const std::filesystem::path& base, const ImportOptions& options);

}  // namespace mos::pretrain
