// Time and peak memory of loading a base model:
//
//     loading MODEL [float32|bfloat16|float16]
//
// MODEL is a diffusers directory or a single file, such as `mos init-random` writes at full size.
// Without a precision every part keeps that of its file. A fresh process measures what the program
// itself takes, then the load; the ratio compares the peak with the weights that were asked for.
#include <fmt/core.h>

#include <chrono>
#include <map>
#include <optional>
#include <string>

#include "mos/base/error.h"
#include "mos/base/runtime.h"
#include "mos/diffusion/model.h"
#include "mos/io/state_dict.h"

namespace {

using mos::diffusion::Model;

const std::map<std::string, torch::ScalarType> kTypes = {
    {"float32", torch::kFloat32}, {"bfloat16", torch::kBFloat16}, {"float16", torch::kFloat16}};

std::size_t bytes_of(const torch::nn::Module& network) {
  std::size_t bytes = 0;
  for (const auto& [key, tensor] : mos::io::state_dict_of(network)) bytes += tensor.nbytes();
  return bytes;
}

void measure(const std::string& path, std::optional<torch::ScalarType> dtype) {
  constexpr double kMegabyte = 1e6;
  const auto before = static_cast<double>(mos::peak_memory());
  const auto start = std::chrono::steady_clock::now();
  const auto model = Model::load(path, {.dtype = dtype});
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
  const auto peak = static_cast<double>(mos::peak_memory());
  const auto weights = static_cast<double>(bytes_of(*model.towers[0].encoder) +
                                           bytes_of(*model.vae) + bytes_of(*model.unet));
  fmt::print(
      "{:.2f} s, weights {:.0f} MB, peak {:.0f} MB ({:.2f} x the weights), program {:.0f} MB\n",
      time.count(), weights / kMegabyte, peak / kMegabyte, peak / weights, before / kMegabyte);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3 || (argc == 3 && !kTypes.contains(argv[2]))) {
    fmt::print(stderr, "usage: loading MODEL [float32|bfloat16|float16]\n");
    return 2;
  }
  try {
    mos::set_up_runtime();
    measure(argv[1], argc == 3 ? std::optional(kTypes.at(argv[2])) : std::nullopt);
  } catch (const mos::Error& error) {
    fmt::print(stderr, "loading: {}\n", error.what());
    return mos::exit_code(error.kind());
  }
}
