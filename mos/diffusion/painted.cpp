#include "mos/diffusion/painted.h"

#include "mos/base/error.h"
#include "mos/io/finite.h"

namespace mos::diffusion {

void check_painted(const torch::Tensor& picture) {
  if (io::is_finite(picture)) return;
  throw Error(ErrorKind::kMismatch,
              "the picture came out as NaN or infinity, which would be black: the numbers of a "
              "concept or an adapter, or the factors on them, are too large; try smaller factors, "
              "or --dtype float32");
}

}  // namespace mos::diffusion
