#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace mos::jobs {

/// What a few real steps say about the whole work.
struct Estimate {
  double seconds = 0.0;     ///< Of the whole work.
  std::int64_t memory = 0;  ///< Bytes, the peak of this process so far.
  std::string measured;     ///< On what: "measured on 2 of 40 steps, 0.31 s each".
};

/// With the memory as it is now.
Estimate estimate_of(double seconds, std::string measured);

/// Seconds since its construction or the last lap.
class Stopwatch {
 public:
  double lap();

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace mos::jobs
