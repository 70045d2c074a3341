#pragma once

#include <torch/types.h>

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace torch::nn {
class Module;
}

/// Named tensors and how they get into a module: every key is accounted for.
namespace mos::io {

using StateDict = std::map<std::string, torch::Tensor>;
using KeyPredicate = std::function<bool(const std::string&)>;

/// True for keys that match one of `patterns`; `*` stands for any run of characters.
KeyPredicate matches_any(std::vector<std::string> patterns);

struct LoadOptions {
  KeyPredicate allow_missing;     ///< Keys of the module that the file may lack. Empty: none.
  KeyPredicate allow_unexpected;  ///< Keys of the file that the module may lack. Empty: none.
  std::string origin;             ///< What the tensors come from, for messages ("unet/…").
  /// Device of new memory for every parameter, as networks that know only their shapes need
  /// (nn/parameter.h). Empty: values are copied into the memory that is there.
  std::optional<torch::Device> new_memory;
  std::optional<torch::ScalarType> new_dtype;  ///< Of that memory; empty: as the tensors have it.
};

/// What became of every key. `mismatched` entries hold both shapes; `ignored` are buffers that
/// carry no information (see io/names.h).
struct LoadReport {
  std::vector<std::string> loaded, missing, unexpected, mismatched, ignored;

  /// One line: the counts and every missing, unexpected and mismatched key.
  std::string summary() const;
};

/// Copies `dict` into the parameters and buffers of `module`, converting to each one's dtype and
/// device, one tensor after the other; each is let go when it has been copied. Keys of older
/// dialects are renamed by io/names. Nothing is written unless all fits. Throws
/// mos::Error(kMismatch) that lists all missing, unexpected and mismatched keys, unless `options`
/// allows them; a wrong shape is never allowed. Throws kFormat when a tensor holds NaN or infinity,
/// which is seen while it is copied: then a part of `module` has been filled.
LoadReport load_into(torch::nn::Module& module, StateDict dict, const LoadOptions& options = {});

/// What load_into would report; nothing is written.
LoadReport compare(const torch::nn::Module& module, const StateDict& dict);

/// All defined parameters and buffers by name. The tensors alias the module (detached).
StateDict state_dict_of(const torch::nn::Module& module);

/// Makes every parameter and buffer of `to` a view of the same name's in `from`, which may have
/// more (attached LoRA): two networks that compute with one set of weights. Throws
/// mos::Error(kMismatch) as load_into does.
void share_weights(const torch::nn::Module& from, torch::nn::Module& to);

/// "[2, 3]"; for messages.
std::string shape_text(torch::IntArrayRef shape);

}  // namespace mos::io
