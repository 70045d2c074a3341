#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>

namespace mos {

/// Who can mend a failure, and so which exit code a command ends with.
enum class ErrorKind {
  kUsage,      ///< The caller asked for something impossible (options, prompts, boxes).
  kIo,         ///< A file or folder could not be read or written.
  kFormat,     ///< A file is not what it should be.
  kMismatch,   ///< Two things that are fine alone do not fit together.
  kDevice,     ///< The device or its memory is not there.
  kCancelled,  ///< The user stopped the work.
};

/// Longer messages lose their middle: the keys of a model fit, a hostile file's names do not.
inline constexpr std::size_t kLongestMessage = std::size_t{1} << 16;

/// The one exception of this project. The message is one sentence for the user: what we did, what
/// we saw, what we expected, what to try. It is printable UTF-8 in one line whatever was quoted in
/// it (see printable() in base/text.h). Caught once per command.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message);
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

/// Process exit code: usage 2, io and format 3, mismatch 4, device 5, cancelled 130.
int exit_code(ErrorKind kind);

}  // namespace mos
