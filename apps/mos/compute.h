#pragma once

#include "mos/nn/compute.h"

namespace mos::app {

using nn::compute_named;
using nn::describe_cpu;
using nn::dtype_named;
using nn::name_of;
using nn::weights_dtype_named;

}  // namespace mos::app
