#pragma once

#include <filesystem>
#include <string>

#include "mos/checkpoint/checkpoint.h"
#include "mos/checkpoint/key_map.h"

/// The settings of single files that bring none: from the shapes of their tensors, from a .yaml of
/// the original code, and from what all models of their family have in common.
namespace mos::checkpoint {

/// A tensor without numbers that marks models of zero terminal SNR (arXiv 2305.08891), and what
/// their scheduler_config.json says.
inline constexpr const char* kZeroSnrKey = "ztsnr";
inline constexpr const char* kZeroSnr = "rescale_betas_zero_snr";

/// What the .yaml of a model says that its tensors do not.
struct LdmConfig {
  std::string parameterization;  ///< "eps" or "v"; empty when it does not say.
  double linear_start = 0.00085;
  double linear_end = 0.012;
  std::int64_t timesteps = 1000;
  double scale_factor = 0.18215;
  std::string text_layer = "penultimate";  ///< Of OpenCLIP: that, or "last".
};

/// Throws mos::Error: kIo, or kFormat when it is no configuration of such a model.
LdmConfig read_ldm_config(const std::filesystem::path& path);

/// The same of a file that nobody named, but that is called as the model beside it: one of
/// something else is left alone, with a warning.
LdmConfig read_ldm_config_beside(const std::filesystem::path& path);

/// "epsilon" or "v_prediction", and how we know.
struct Prediction {
  std::string type;
  std::string reason;
};

/// Of a file without settings of its own: by `options`, by `config`, by its metadata, or guessed
/// from its family, its step counter and the numbers of one tensor.
Prediction prediction_of(const io::StateDict& tensors,
                         const std::map<std::string, std::string>& metadata,
                         const ReadOptions& options, const LdmConfig& config);

/// Configs of diffusers for the tensors of such a file, its scheduler_config and model_index. A
/// mark of zero terminal SNR on a model that predicts the noise is left out, with a warning.
void derive_settings(Checkpoint& checkpoint, const io::StateDict& tensors, const LdmConfig& config,
                     const Prediction& prediction);

TextEncoderKind text_kind_of(const io::StateDict& tensors);

}  // namespace mos::checkpoint
