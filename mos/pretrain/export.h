#pragma once

#include <filesystem>
#include <string>

#include "mos/base/field_rules.h"
#include "mos/checkpoint/part.h"

namespace mos::pretrain {

/// In an exported base, beside what diffusers has there.
inline constexpr const char* kRecordFile = "training_record.json";
inline constexpr const char* kJudgeFolder = "judge";
/// Where it keeps the weights of `part`, below its folder.
std::filesystem::path weights_file(checkpoint::Part part);

/// In the folder of a training: the record of the base that it goes on from (import_base).
inline constexpr const char* kFormerRecordFile = "former_record.json";

struct ExportOptions {
  std::string to;  ///< Empty: `base`/export.
  /// Options of tuning that suit the base (mos/tune/plan.h), put beside it under the name that
  /// `mos tune` looks for; empty: none.
  std::string tune_defaults;
};

template <class Visitor>
void describe(Visitor& visit, ExportOptions& options) {
  visit("to", options.to, "the diffusers directory to write (empty: OUT/export)", a_path());
  visit("tune_defaults", options.tune_defaults,
        "JSON file of what mos tune is to do on it, which it gets as tune_defaults.json", a_path());
}

/// Writes the latest checkpoints of `base` as a diffusers directory (model_index.json, scheduler,
/// networks and tokenizer; float16 safetensors) with the judge beside them and
/// training_record.json: what it was trained on, for how long, with which figures. What it wrote
/// there before is replaced in one step. Returns the directory. Throws kIo or kFormat.
std::filesystem::path export_base(const std::filesystem::path& base,
                                  const ExportOptions& options = {});

}  // namespace mos::pretrain
