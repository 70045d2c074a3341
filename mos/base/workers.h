#pragma once

#include <barrier>
#include <cstddef>
#include <exception>
#include <functional>
#include <thread>
#include <vector>

namespace mos {

/// Threads that stay, each of which runs LibTorch's operations alone. (A new thread for every step
/// would cost more than its work: LibTorch makes a thread pool at the first operation of each.)
class Workers {
 public:
  /// Throws kDevice when the system lets us start fewer.
  explicit Workers(std::size_t count);
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  /// Calls work(0) … work(count − 1) at the same time, waits for all of them, and throws what the
  /// first of them threw.
  void run(const std::function<void(std::size_t)>& work);

 private:
  void serve(std::size_t index);
  void stop();

  std::barrier<> start_;
  std::barrier<> done_;
  const std::function<void(std::size_t)>* work_ = nullptr;  ///< Of the call of run(); null: end.
  std::vector<std::exception_ptr> failures_;
  std::vector<std::thread> threads_;
};

}  // namespace mos
