#pragma once

#include <string>
#include <vector>

/// Numbers of places in scenes: fractions of the canvas, or pixels.
namespace mos::region {

/// Whether `numbers`, all of one place that messages call `what`, are fractions: none is above 1;
/// else they are pixels. Throws kUsage where that makes pixels of fractions: all are below 2 and
/// one is no whole number.
bool are_fractions(const std::vector<double>& numbers, const std::string& what);

/// What is said of `what` where the number `above` makes pixels of all the others.
[[noreturn]] void throw_mixed_units(const std::string& what, double above);

}  // namespace mos::region
