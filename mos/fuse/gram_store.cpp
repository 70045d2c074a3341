#include "mos/fuse/gram_store.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "mos/base/error.h"
#include "mos/base/temporary.h"

namespace mos::fuse {

namespace {

[[noreturn]] void fail(const char* action) {
  throw Error(ErrorKind::kIo,
              fmt::format("cannot {} the temporary file for the moments in {}: {}; set TMPDIR to a "
                          "folder with more room",
                          action, temporary_folder().string(), std::strerror(errno)));
}

}  // namespace

GramStore::GramStore() {
  std::string name = (temporary_folder() / "mos-moments-XXXXXX").string();
  descriptor_ = ::mkostemp(name.data(), O_CLOEXEC);
  if (descriptor_ < 0) fail("make");
  ::unlink(name.c_str());
}

GramStore::~GramStore() { ::close(descriptor_); }

std::size_t GramStore::put(const InputGram& gram) {
  const auto samples = gram.samples();
  const auto data = (samples.defined() ? samples : gram.matrix()).contiguous();
  const auto* bytes = static_cast<const char*>(data.data_ptr());
  std::size_t left = data.nbytes();
  entries_.push_back({.form = samples.defined() ? Form::kSamples : Form::kMatrix,
                      .rows = gram.rows(),
                      .in_features = gram.in_features(),
                      .offset = end_});
  while (left > 0) {
    const auto written = ::pwrite(descriptor_, bytes, left, end_);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) fail("write to");
    bytes += written;
    end_ += written;
    left -= static_cast<std::size_t>(written);
  }
  return entries_.size() - 1;
}

InputGram GramStore::get(std::size_t number) const {
  const auto& entry = entries_.at(number);
  const bool samples = entry.form == Form::kSamples;
  const auto data =
      torch::empty({samples ? entry.rows : entry.in_features, entry.in_features}, torch::kFloat64);
  auto* bytes = static_cast<char*>(data.data_ptr());
  std::size_t left = data.nbytes();
  auto offset = entry.offset;
  while (left > 0) {
    const auto count = ::pread(descriptor_, bytes, left, offset);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) fail("read from");
    bytes += count;
    offset += count;
    left -= static_cast<std::size_t>(count);
  }
  return samples ? InputGram::from_samples(data) : InputGram::from_matrix(data, entry.rows);
}

}  // namespace mos::fuse
