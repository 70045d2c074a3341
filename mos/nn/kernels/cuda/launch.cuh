#pragma once

#include <cuda_runtime.h>

#include <cstddef>

#include "mos/nn/kernels/cuda/launches.h"

namespace mos::nn::kernels::cuda {

/// Blocks and threads of a launch and the bytes of `shared` in each block.
struct Grid {
  dim3 blocks, threads;
  std::size_t shared = 0;
};

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), const Grid& grid, Stream stream,
            Arguments... arguments) {
  kernel<<<grid.blocks, grid.threads, grid.shared, stream>>>(static_cast<Parameters>(arguments)...);
}

}  // namespace mos::nn::kernels::cuda
