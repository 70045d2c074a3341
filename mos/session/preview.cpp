#include "mos/session/preview.h"

#include <fmt/core.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <system_error>
#include <utility>

#include "mos/base/error.h"
#include "mos/base/stopwatch.h"
#include "mos/base/temporary.h"
#include "mos/io/quick_png.h"

namespace mos::session {

namespace fs = std::filesystem;

Preview::Preview(std::int64_t every, const diffusion::Model& model,
                 std::function<void(const fs::path&)> tell)
    : every_(every), tell_(std::move(tell)) {
  if (every_ > 0) colours_ = diffusion::latent_colours_of(model);
}

namespace {

/// The file of a preview, which goes however painting ends. It is replaced in one step and without
/// waiting for the disk, since nobody misses it after a power cut.
class ShownFile {
 public:
  explicit ShownFile(fs::path path) : path_(std::move(path)) {}
  ~ShownFile() { remove(); }
  ShownFile(const ShownFile&) = delete;
  ShownFile& operator=(const ShownFile&) = delete;

  const fs::path& path() const { return path_; }
  /// Throws kIo.
  void write(const std::string& bytes) {
    Temporary next(path_, Temporary::Kind::kFile);
    std::ofstream stream(next.path(), std::ios::binary);
    stream.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    stream.close();
    std::error_code code;
    if (stream) fs::rename(next.path(), path_, code);
    if (!stream || code) {
      throw Error(ErrorKind::kIo,
                  fmt::format("cannot write {}: {}; choose another place", path_.string(),
                              code ? code.message() : std::strerror(errno)));
    }
    next.release();
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

namespace {

/// Previews of one batch: where the last one is, since when, and what it cost.
struct Shown {
  explicit Shown(fs::path path) : file(std::move(path)) {}

  ShownFile file;
  Stopwatch since = {};
  double cost = 0.0;  ///< Seconds.

  /// Where steps take hardly longer than previews, fewer come than were asked for, so that all of
  /// them stay below a hundredth of the time.
  bool is_due() const {
    constexpr double kPause = 150.0;  // times the cost
    return since.seconds() >= kPause * cost;
  }
};

}  // namespace

diffusion::StepCallback Preview::of_batch(diffusion::StepCallback inner, const fs::path& picture,
                                          const PictureRecord& record) const {
  if (every_ <= 0) return inner;
  constexpr std::int64_t kPixels = 4;  // of each latent position along a side
  auto shown = std::make_shared<Shown>(path_of(picture));
  return [this, inner = std::move(inner), shown = std::move(shown),
          text = record_text(record)](const diffusion::DenoiseStep& step) {
    if (inner) inner(step);
    if (step.index + 1 == step.total) return shown->file.remove();
    if ((step.index + 1) % every_ != 0 || !shown->is_due()) return;
    const Stopwatch watch;
    const auto small = colours_->picture(step.seen());
    const auto pixels =
        small.repeat_interleave(kPixels, 0).repeat_interleave(kPixels, 1).contiguous();
    shown->file.write(io::quick_png(pixels, {{kRecordKeyword, text}}));
    if (tell_) tell_(shown->file.path());
    shown->cost = watch.seconds();
    shown->since = Stopwatch();
  };
}

}  // namespace mos::session
