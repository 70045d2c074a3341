#pragma once

#include <filesystem>

namespace mos::pretrain {

/// Writes the latest checkpoints of `base` as a diffusers directory (model_index.json, scheduler,
/// networks and tokenizer; float16 safetensors) with the pair of towers beside them
/// (clip) and training_record.json: what it was trained on, for how long, with which figures.
/// `target` is replaced in one step.
void export_base(const std::filesystem::path& base, const std::filesystem::path& target);

}  // namespace mos::pretrain
