#pragma once

#include <algorithm>
#include <array>
#include <string_view>

/// Which names of classes and functions a pickle may have.
namespace mos::io {

/// Everything a file may name. What these do is written in PickleReader::reduce.
inline constexpr std::array<std::string_view, 19> kAllowedGlobals = {
    "__builtin__.set",
    "builtins.set",
    "collections.OrderedDict",
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
    "torch.nn.modules.container.ParameterDict",
    "torch.nn.parameter.Parameter",
    "torch.Size",
    "torch.DoubleStorage",
    "torch.FloatStorage",
    "torch.HalfStorage",
    "torch.BFloat16Storage",
    "torch.LongStorage",
    "torch.IntStorage",
    "torch.ShortStorage",
    "torch.CharStorage",
    "torch.ByteStorage",
    "torch.BoolStorage",
};

/// What training checkpoints keep beside their weights (pytorch_lightning's callbacks by their
/// class, their scores as NumPy numbers), as in sd-v1-4.ckpt. A class is only a name here; a call
/// of one of the functions gives nothing.
inline constexpr std::string_view kCallbacks = "pytorch_lightning.callbacks.";
inline constexpr std::array<std::string_view, 4> kOpaqueCalls = {"numpy.core.multiarray.scalar",
                                                                 "numpy._core.multiarray.scalar",
                                                                 "numpy.dtype", "_codecs.encode"};

inline bool is_opaque_call(std::string_view name) {
  return std::find(kOpaqueCalls.begin(), kOpaqueCalls.end(), name) != kOpaqueCalls.end();
}

inline bool is_allowed_global(std::string_view name) {
  const auto& known = kAllowedGlobals;
  return std::find(known.begin(), known.end(), name) != known.end() || is_opaque_call(name) ||
         name.starts_with(kCallbacks);
}

}  // namespace mos::io
