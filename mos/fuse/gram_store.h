#pragma once

#include <cstddef>
#include <vector>

#include "mos/fuse/gram.h"

namespace mos::fuse {

/// Keeps moments and other matrices in an anonymous temporary file, so that memory does not grow
/// with the number of concepts: the report needs each concept's own moments once more after all
/// have been summed. The file has no name and is gone with the process, whatever ends it.
class GramStore {
 public:
  /// Throws mos::Error(kIo) if no temporary file can be made.
  GramStore();
  ~GramStore();
  GramStore(const GramStore&) = delete;
  GramStore& operator=(const GramStore&) = delete;

  /// Appends `gram` and returns its number: 0, 1, 2 … Throws mos::Error(kIo) (full disk).
  std::size_t put(const InputGram& gram);
  InputGram get(std::size_t number) const;
  /// The same for a matrix [n,m] as it is, of float64 on the CPU.
  std::size_t put_matrix(const torch::Tensor& matrix);
  torch::Tensor get_matrix(std::size_t number) const;
  /// Puts another one of the same shape in its place.
  void replace_matrix(std::size_t number, const torch::Tensor& matrix);

 private:
  enum class Form { kSamples, kMatrix };
  struct Entry {
    Form form;
    std::int64_t rows;  ///< That were summed.
    std::int64_t height, width;
    std::int64_t offset;
  };
  std::size_t append(const torch::Tensor& matrix, Form form, std::int64_t rows);
  void write(const torch::Tensor& matrix, std::int64_t offset) const;

  std::vector<Entry> entries_;
  std::int64_t end_ = 0;
  int descriptor_ = -1;
};

}  // namespace mos::fuse
