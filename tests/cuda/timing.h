#pragma once

#include <functional>

/// Milliseconds of one call of `run` on the current CUDA stream: the median of several rounds.
double milliseconds_of(const std::function<void()>& run);
