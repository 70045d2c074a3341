#include "mos/diffusion/sigma/beta_quantile.h"

#include <cmath>
#include <limits>

namespace mos::diffusion {
namespace {

/// The continued fraction of I_x (DLMF 8.17.22), evaluated from its front by Lentz' method. It
/// converges fast for x < (a + 1) / (a + b + 2).
double continued_fraction(double x, double a, double b) {
  constexpr int kMostTerms = 300;
  constexpr double kTiny = 1e-300;
  const auto safe = [](double value) { return std::abs(value) < kTiny ? kTiny : value; };
  double numerator = 1.0, denominator = 1.0 / safe(1.0 - (a + b) * x / (a + 1.0));
  double value = denominator;
  for (int m = 1; m <= kMostTerms; ++m) {
    const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    denominator = 1.0 / safe(1.0 + even * denominator);
    numerator = safe(1.0 + even / numerator);
    value *= denominator * numerator;
    const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    denominator = 1.0 / safe(1.0 + odd * denominator);
    numerator = safe(1.0 + odd / numerator);
    const double change = denominator * numerator;
    value *= change;
    if (std::abs(change - 1.0) < std::numeric_limits<double>::epsilon()) break;
  }
  return value;
}

}  // namespace

double beta_share(double x, double a, double b) {
  if (x <= 0.0) return 0.0;
  if (x >= 1.0) return 1.0;
  const double front = std::exp(std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) +
                                a * std::log(x) + b * std::log1p(-x));
  if (x < (a + 1.0) / (a + b + 2.0)) return front * continued_fraction(x, a, b) / a;
  return 1.0 - front * continued_fraction(1.0 - x, b, a) / b;
}

double beta_quantile(double share, double a, double b) {
  if (share <= 0.0) return 0.0;
  if (share >= 1.0) return 1.0;
  if (a == b && share == 0.5)
    return 0.5;  // its middle, to the last bit: half of a timestep is a tie
  double low = 0.0, high = 1.0;
  for (double middle = 0.5; middle > low && middle < high; middle = 0.5 * (low + high)) {
    (beta_share(middle, a, b) < share ? low : high) = middle;
  }
  return 0.5 * (low + high);
}

}  // namespace mos::diffusion
