#pragma once

#include <torch/types.h>

/// Memory for the parameters of networks.
namespace mos::nn {

/// While an object of this type lives, networks built on its thread know the shapes of their
/// parameters but have no memory for them (every element is the same one). Names and shapes of a
/// network of any size then cost nothing, and io::load_into gives each parameter its memory when a
/// file fills it.
class ShapesOnly {
 public:
  ShapesOnly();
  ~ShapesOnly();
  ShapesOnly(const ShapesOnly&) = delete;
  ShapesOnly& operator=(const ShapesOnly&) = delete;

 private:
  bool before_;
};

/// An uninitialised float32 tensor of `shape` for a parameter, or only its shape (see above).
torch::Tensor new_parameter(at::IntArrayRef shape);

}  // namespace mos::nn
