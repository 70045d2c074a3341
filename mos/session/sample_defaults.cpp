#include "mos/session/sample_defaults.h"

#include <algorithm>

#include "mos/base/naming.h"
#include "mos/checkpoint/parts.h"

namespace mos::session {

region::SampleOptions sample_defaults(const std::filesystem::path& base) {
  region::SampleOptions options;
  const auto text = checkpoint::kept_text(base, checkpoint::kSampleDefaultsFile);
  if (!text) return options;
  const auto origin = (base / checkpoint::kSampleDefaultsFile).string();
  read_options(parse_json(*text, origin), origin, options);
  naming(origin, [&options] { check_fields(options); });
  return options;
}

double perturbed_attention_at(double guidance_scale, const region::SampleOptions& options) {
  if (guidance_scale <= 1.0) return 0.0;
  const double strength = options.sampler.perturbed_attention * (options.guidance_scale - 1.0);
  return std::clamp(strength / (guidance_scale - 1.0), 0.0, 1.0);
}

}  // namespace mos::session
