#include "mos/nn/parameter.h"

#include <utility>

namespace mos::nn {
namespace {

// Of a thread and of a scope, as torch::NoGradGuard's is: constructors of modules take no options.
thread_local bool shapes_only = false;

}  // namespace

ShapesOnly::ShapesOnly() : before_(std::exchange(shapes_only, true)) {}
ShapesOnly::~ShapesOnly() { shapes_only = before_; }

torch::Tensor new_parameter(at::IntArrayRef shape) {
  return shapes_only ? torch::zeros({}).expand(shape) : torch::empty(shape);
}

}  // namespace mos::nn
