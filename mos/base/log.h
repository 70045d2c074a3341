#pragma once

#include <functional>
#include <string_view>

/// Talk for people, on stderr unless somebody listens; stdout is for results. Nothing here fails: a
/// terminal may be closed while the work that it was opened for goes on.
namespace mos::log {

enum class Level { kInfo, kWarning };

/// Gets each message, a sentence without the end of a line. Must not throw.
using Sink = std::function<void(Level level, std::string_view message)>;

/// What this thread says until the end of the scope goes to `sink` instead of stderr; an empty one
/// changes nothing. So each of several jobs, on threads of their own, has its own listener. To be
/// destroyed by the thread that made it, the latest first.
class ScopedSink {
 public:
  explicit ScopedSink(Sink sink);
  ~ScopedSink();
  ScopedSink(const ScopedSink&) = delete;
  ScopedSink& operator=(const ScopedSink&) = delete;

 private:
  Sink sink_;
  const Sink* before_;
};

void info(std::string_view message);
void warn(std::string_view message);

/// `text` as it is to stderr, without the end of a line: for who draws a terminal.
void write(std::string_view text);

}  // namespace mos::log
