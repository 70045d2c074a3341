#include "mos/session/preview.h"

#include <memory>
#include <utility>

#include "mos/io/image.h"

namespace mos::session {

namespace fs = std::filesystem;

Preview::Preview(std::int64_t every, const diffusion::Model& model,
                 std::function<void(const fs::path&)> tell)
    : every_(every), tell_(std::move(tell)) {
  if (every_ > 0) colours_ = diffusion::latent_colours_of(model);
}

namespace {

/// The file of a preview, which goes however painting ends.
class ShownFile {
 public:
  explicit ShownFile(fs::path path) : path_(std::move(path)) {}
  ~ShownFile() { remove(); }
  ShownFile(const ShownFile&) = delete;
  ShownFile& operator=(const ShownFile&) = delete;

  const fs::path& path() const { return path_; }
  void write(const torch::Tensor& pixels, const std::string& record) {
    io::write_png(path_, pixels, {{kRecordKeyword, record}});
    is_there_ = true;
  }
  void remove() {
    std::error_code ignored;
    if (is_there_) fs::remove(path_, ignored);
    is_there_ = false;
  }

 private:
  fs::path path_;
  bool is_there_ = false;
};

}  // namespace

fs::path Preview::path_of(fs::path picture) { return picture.replace_extension(".preview.png"); }

diffusion::StepCallback Preview::of_batch(diffusion::StepCallback inner, const fs::path& picture,
                                          const PictureRecord& record) const {
  if (every_ <= 0) return inner;
  constexpr std::int64_t kPixels = 4;  // of each latent position along a side
  return [this, inner = std::move(inner), file = std::make_shared<ShownFile>(path_of(picture)),
          text = record_text(record)](const diffusion::DenoiseStep& step) {
    if (inner) inner(step);
    if (step.index + 1 == step.total) {
      file->remove();
    } else if ((step.index + 1) % every_ == 0) {
      const auto small = colours_->picture(step.seen());
      file->write(io::resize_nearest(small, small.size(0) * kPixels, small.size(1) * kPixels),
                  text);
      if (tell_) tell_(file->path());
    }
  };
}

}  // namespace mos::session
