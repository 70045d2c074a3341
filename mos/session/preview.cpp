#include "mos/session/preview.h"

#include "mos/io/image.h"

namespace mos::session {

namespace fs = std::filesystem;

Preview::Preview(std::int64_t every, const diffusion::Model& model,
                 std::function<void(const fs::path&)> tell)
    : every_(every), tell_(std::move(tell)) {
  if (every_ > 0) colours_ = diffusion::latent_colours_of(model);
}

fs::path Preview::path_of(fs::path picture) { return picture.replace_extension(".preview.png"); }

diffusion::StepCallback Preview::of_batch(diffusion::StepCallback inner, const fs::path& picture,
                                          const PictureRecord& record) const {
  if (every_ <= 0) return inner;
  constexpr std::int64_t kPixels = 4;  // of each latent position along a side
  return [this, inner = std::move(inner), path = path_of(picture),
          text = record_text(record)](const diffusion::DenoiseStep& step) {
    if (inner) inner(step);
    if (step.index + 1 == step.total) {
      std::error_code ignored;
      fs::remove(path, ignored);
    } else if ((step.index + 1) % every_ == 0) {
      const auto small = colours_->picture(step.seen());
      io::write_png(path,
                    io::resize_nearest(small, small.size(0) * kPixels, small.size(1) * kPixels),
                    {{kRecordKeyword, text}});
      if (tell_) tell_(path);
    }
  };
}

}  // namespace mos::session
