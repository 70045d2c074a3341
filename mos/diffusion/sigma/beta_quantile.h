#pragma once

namespace mos::diffusion {

/// I_x(a, b), the regularised incomplete beta function: the share of a Beta(a, b) distribution
/// below x; 0 ≤ x ≤ 1, a and b above 0. Accurate to about 1e-14.
double beta_share(double x, double a, double b);

/// The x with beta_share(x, a, b) = share (scipy's beta.ppf).
double beta_quantile(double share, double a, double b);

}  // namespace mos::diffusion
