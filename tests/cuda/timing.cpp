#include "tests/cuda/timing.h"

#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAStream.h>

#include <algorithm>
#include <vector>

double milliseconds_of(const std::function<void()>& run) {
  constexpr int kRounds = 11, kCalls = 10;
  const auto stream = c10::cuda::getCurrentCUDAStream().stream();
  cudaEvent_t begin = nullptr, end = nullptr;
  C10_CUDA_CHECK(cudaEventCreate(&begin));
  C10_CUDA_CHECK(cudaEventCreate(&end));
  std::vector<float> times;
  for (int round = 0; round < kRounds; ++round) {
    C10_CUDA_CHECK(cudaEventRecord(begin, stream));
    for (int call = 0; call < kCalls; ++call) run();
    C10_CUDA_CHECK(cudaEventRecord(end, stream));
    C10_CUDA_CHECK(cudaEventSynchronize(end));
    float time = 0;
    C10_CUDA_CHECK(cudaEventElapsedTime(&time, begin, end));
    times.push_back(time / kCalls);
  }
  C10_CUDA_CHECK(cudaEventDestroy(begin));
  C10_CUDA_CHECK(cudaEventDestroy(end));
  std::nth_element(times.begin(), times.begin() + kRounds / 2, times.end());
  return static_cast<double>(times[kRounds / 2]);
}
