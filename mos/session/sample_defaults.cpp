#include "mos/session/sample_defaults.h"

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

}  // namespace mos::session
