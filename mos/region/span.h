#pragma once

#include <cstdint>

/// Shares of the calls of the network in which something is on: in 0…1, start before end.
namespace mos::region {

struct Span {
  double start = 0.0, end = 1.0;
};

/// Whether a call begins in `span`, `progress` being the share of the calls before it: regions.
inline bool begins_in(Span span, double progress) {
  return progress >= span.start && progress < span.end;
}

/// Whether the call `index` of `total` lies in `span` whole: conditions, by diffusers' rule for
/// ControlNet.
inline bool lies_in(Span span, std::int64_t index, std::int64_t total) {
  const auto all = static_cast<double>(total);
  return static_cast<double>(index) / all >= span.start &&
         static_cast<double>(index + 1) / all <= span.end;
}

}  // namespace mos::region
