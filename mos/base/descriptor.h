#pragma once

#include <unistd.h>

namespace mos {

/// An open file, closed on every way out; negative: none was opened.
struct Descriptor {
  int value;

  explicit Descriptor(int opened) : value(opened) {}
  ~Descriptor() {
    if (value >= 0) ::close(value);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
};

}  // namespace mos
