#pragma once

#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "mos/base/file.h"
#include "mos/base/progress.h"
#include "mos/io/state_dict.h"

/// The safetensors format: an 8-byte little-endian header length, a JSON header, raw data.
namespace mos::io {

class MappedFile;

/// One tensor of a file: where its bytes are, counted from the start of the data.
struct TensorInfo {
  std::string name;
  torch::ScalarType dtype = torch::kFloat32;
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

/// A memory-mapped file whose header has been checked completely: the length of the header,
/// known dtypes, sizes that follow from dtype and shape without overflow, offsets inside the file
/// without overlaps or gaps, no key twice.
class SafetensorsFile {
 public:
  /// Throws mos::Error: kIo when the file cannot be opened, kFormat when anything is wrong in it.
  explicit SafetensorsFile(const std::filesystem::path& path);

  /// In the order of their data.
  const std::vector<TensorInfo>& tensors() const { return tensors_; }
  bool contains(std::string_view name) const;

  /// A tensor that aliases the file's pages and keeps them mapped, even beyond this object, and
  /// gives its pages back when it goes (see io/mapped_tensor.h).
  /// The mapping is private: writing to the tensor never changes the file. (The file must not be
  /// truncated meanwhile; replacing it by renaming, as our writer does, is safe.)
  /// Throws mos::Error(kMismatch) for a name that the file does not hold.
  torch::Tensor get(const std::string& name) const;

  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  std::shared_ptr<MappedFile> file_;
  std::size_t data_start_ = 0;
  std::vector<TensorInfo> tensors_;
  std::map<std::string, std::size_t, std::less<>> index_;
  std::map<std::string, std::string> metadata_;
};

/// All tensors of a file; they alias its pages (see SafetensorsFile::get).
StateDict load_safetensors(const std::filesystem::path& path);

/// A tensor that is made when its turn to be written comes, so that a file larger than memory can
/// be written. `make` must give this shape; its values are converted to this dtype.
struct LazyTensor {
  torch::ScalarType dtype = torch::kFloat32;
  std::vector<std::int64_t> shape;
  std::function<torch::Tensor()> make;
};
using LazyDict = std::map<std::string, LazyTensor>;

/// `tensor` as it is.
LazyTensor lazy_tensor(torch::Tensor tensor);

/// How a file is written that may be large.
struct WriteRules {
  FileRules file = {};
  const CancelToken* cancel = nullptr;  ///< Asked before each tensor.
};

/// Writes `tensors` as save_safetensors does, each one made, written and let go in turn. Numbers
/// that become zero in their dtype are warned of. Throws also kMismatch where some would become
/// infinite, kIo as AtomicFile does, kCancelled.
void write_safetensors(const std::filesystem::path& path, LazyDict tensors,
                       const std::map<std::string, std::string>& metadata = {},
                       const WriteRules& rules = {});

/// Writes `dict` and `metadata`: the same bytes for the same input, complete or not at all.
/// Larger element sizes come first (so that all data is aligned), then names in order.
/// Tensors may be on any device and need not be contiguous.
/// Throws mos::Error: kUsage for a dtype or name the format does not have, kIo when writing fails.
void save_safetensors(const std::filesystem::path& path, const StateDict& dict,
                      const std::map<std::string, std::string>& metadata = {},
                      const FileRules& rules = {});

}  // namespace mos::io
