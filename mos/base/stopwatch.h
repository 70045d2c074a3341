#pragma once

#include <chrono>

namespace mos {

/// Seconds of wall time, by a clock that nobody sets. Not for what runs record: equal inputs write
/// equal bytes.
class Stopwatch {
 public:
  /// Since its construction or the last lap.
  double seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

  /// The same, and the next lap begins.
  double lap() {
    const auto now = Clock::now();
    const std::chrono::duration<double> spent = now - start_;
    start_ = now;
    return spent.count();
  }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_ = Clock::now();
};

}  // namespace mos
