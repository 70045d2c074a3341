#pragma once

#include <torch/types.h>

#include <string>

/// NaN and infinity in weights from outside blacken every picture, and nothing fails. So what is
/// read is looked at once, where it is copied or converted anyway. There too, the bytes of a mapped
/// tensor are compared with their checksum, if the file has one (see check_stored): all of these
/// functions throw mos::Error(kFormat) for what is damaged.
namespace mos::io {

/// Whether `tensor` holds neither NaN nor infinity, which whole numbers never do. Any device.
bool is_finite(const torch::Tensor& tensor);

/// target.copy_(source), with a look at each part of `source` while it is in the processor's cache.
/// False when there is NaN or infinity in it; `target` then holds some of it.
bool copy_finite(torch::Tensor& target, const torch::Tensor& source);

/// Throws mos::Error(kFormat): `origin`'s tensor `name` holds NaN or infinity.
[[noreturn]] void throw_not_finite(const std::string& origin, const std::string& name);

/// Throws as above unless is_finite(tensor).
void check_finite(const torch::Tensor& tensor, const std::string& origin, const std::string& name);

}  // namespace mos::io
