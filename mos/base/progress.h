#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>

namespace mos {

/// One report of a long piece of work, given after each step.
struct Progress {
  std::string stage;       ///< What is being done, a few words.
  std::int64_t step = 0;   ///< Steps done, 1 … total.
  std::int64_t total = 0;  ///< Steps in all; 0 when unknown.
  double loss = 0.0;       ///< Smoothed loss, NaN when there is none.
  double seconds = 0.0;    ///< Wall time of the stage so far.
};

using ProgressCallback = std::function<void(const Progress&)>;

/// Asked at every step of long work; cancel() may be called from a signal handler.
class CancelToken {
 public:
  void cancel() { cancelled_.store(true, std::memory_order_relaxed); }
  bool cancelled() const { return cancelled_.load(std::memory_order_relaxed); }
  /// Throws kCancelled once cancel() was called.
  void check() const;

 private:
  std::atomic<bool> cancelled_{false};
};

}  // namespace mos
