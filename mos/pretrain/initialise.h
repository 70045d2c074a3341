#pragma once

#include <ATen/core/Generator.h>

namespace torch::nn {
class Module;
}

/// Starting values for networks that are trained from nothing.
namespace mos::pretrain {

/// U-Net or VAE: uniform ±1/√fan-in for weights and biases (PyTorch's defaults), identity for
/// norms. Layers that end a residual branch (conv2, to_out.0, ff.net.2, proj_out) and, with
/// `zero_output`, the last convolution start at zero, so that every block starts as the identity.
void initialise_network(torch::nn::Module& network, at::Generator& generator,
                        bool zero_output = false);

/// CLIP towers: normal weights of deviation 1/(2√fan-in), zero biases, embeddings of deviation
/// 0.02, temperature 0.07.
void initialise_clip(torch::nn::Module& clip, at::Generator& generator);

}  // namespace mos::pretrain
