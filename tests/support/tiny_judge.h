#pragma once

#include <filesystem>

#include "mos/io/safetensors.h"
#include "mos/nn/clip.h"
#include "tests/support/tiny_model.h"

namespace mos::tiny {

inline Json judge_config() {
  return {{"projection_dim", 8},
          {"text_config", text_encoder_config()},
          {"vision_config",
           {{"hidden_size", 16},
            {"intermediate_size", 32},
            {"num_hidden_layers", 1},
            {"num_attention_heads", 2},
            {"image_size", 16},
            {"patch_size", 8}}}};
}

/// The tiny model as a folder with towers that judge its pictures, as random as itself.
inline void save_with_judge(const std::filesystem::path& base) {
  model().save(base);
  make_folders(base / "judge");
  nn::CLIPModel judge(nn::CLIPModelImpl::from_json(judge_config()));
  auto generator = seeded_generator(5);
  fill_randomly(*judge, generator);
  io::save_safetensors(base / "judge" / "model.safetensors", io::state_dict_of(*judge));
  write_text_file(base / "judge" / "config.json", judge_config().dump());
  tokenizer().save(base / "judge");
}

}  // namespace mos::tiny
