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
  // Without a name it is gone with the process, however that ends.
  ::unlink(name.c_str());
}

GramStore::~GramStore() { ::close(descriptor_); }

void GramStore::write(const torch::Tensor& matrix, std::int64_t offset) const {
  const auto data = matrix.contiguous();
  const auto* bytes = static_cast<const char*>(data.data_ptr());
  std::size_t left = data.nbytes();
  while (left > 0) {
    // Places are given, so several threads may write to the one file.
    const auto written = ::pwrite(descriptor_, bytes, left, offset);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) fail("write to");
    bytes += written;
    offset += written;
    left -= static_cast<std::size_t>(written);
  }
}

std::size_t GramStore::append(const torch::Tensor& matrix, Form form, std::int64_t rows) {
  write(matrix, end_);
  entries_.push_back({.form = form,
                      .rows = rows,
                      .height = matrix.size(0),
                      .width = matrix.size(1),
                      .offset = end_});
  end_ += static_cast<std::int64_t>(matrix.nbytes());
  return entries_.size() - 1;
}

std::size_t GramStore::put(const InputGram& gram) {
  // Few rows as they are, which is smaller than their matrix.
  const auto samples = gram.samples();
  if (samples.defined()) return append(samples, Form::kSamples, gram.rows());
  return append(gram.matrix(), Form::kMatrix, gram.rows());
}

std::size_t GramStore::put_matrix(const torch::Tensor& matrix) {
  return append(matrix, Form::kMatrix, matrix.size(0));
}

void GramStore::replace_matrix(std::size_t number, const torch::Tensor& matrix) {
  write(matrix, entries_.at(number).offset);
}

InputGram GramStore::get(std::size_t number) const {
  const auto data = get_matrix(number);
  const auto& entry = entries_[number];
  return entry.form == Form::kSamples ? InputGram::from_samples(data)
                                      : InputGram::from_matrix(data, entry.rows);
}

torch::Tensor GramStore::get_matrix(std::size_t number) const {
  const auto& entry = entries_.at(number);
  const auto data = torch::empty({entry.height, entry.width}, torch::kFloat64);
  auto* bytes = static_cast<char*>(data.data_ptr());
  std::size_t left = data.nbytes();
  auto offset = entry.offset;
  while (left > 0) {
    const auto count = ::pread(descriptor_, bytes, left, offset);
    if (count < 0 && errno == EINTR) continue;
    // 0 is the end of the file: a part of it was never written.
    if (count <= 0) fail("read from");
    bytes += count;
    offset += count;
    left -= static_cast<std::size_t>(count);
  }
  return data;
}

}  // namespace mos::fuse
