#include "mos/demo/painter.h"

namespace mos::demo {

session::Session open_painter(const std::filesystem::path& base, torch::ScalarType dtype,
                              const concepts::ConceptDelta* delta) {
  session::SessionOptions options{.base = base.string(), .dtype = dtype};
  if (delta != nullptr) options.held.push_back({"the concept", *delta});
  return session::open_session(options);
}

torch::Tensor paint(session::Session& painter, const std::string& prompt,
                    const region::SampleOptions& options, const CancelToken* cancel) {
  return region::sample_pictures(painter.model, painter.tokens, {.prompt = prompt}, options, {}, {},
                                 cancel);
}

}  // namespace mos::demo
