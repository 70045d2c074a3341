#pragma once

#include <chrono>
#include <cstdint>
#include <string>

/// --dry-run: what a few real steps say about the whole work.
namespace mos::app {

/// Seconds since its construction or the last lap.
class Stopwatch {
 public:
  double lap();

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// Prints "about 12 min and 3.1 GB of memory" on stdout, with what was measured to say so.
/// `seconds` is for the whole work; the memory is the peak of this process.
void print_estimate(double seconds, const std::string& measured);

}  // namespace mos::app
