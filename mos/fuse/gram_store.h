#pragma once

#include <cstddef>
#include <vector>

#include "mos/fuse/gram.h"

namespace mos::fuse {

/// Keeps moments in an anonymous temporary file, so that memory does not grow with the number of
/// concepts: the report needs each concept's own moments once more after all have been summed.
/// The file has no name and is gone with the process, whatever ends it.
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

 private:
  enum class Form { kSamples, kMatrix };
  struct Entry {
    Form form;
    std::int64_t rows;
    std::int64_t in_features;
    std::int64_t offset;
  };
  std::vector<Entry> entries_;
  std::int64_t end_ = 0;
  int descriptor_ = -1;
};

}  // namespace mos::fuse
