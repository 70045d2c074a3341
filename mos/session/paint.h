#pragma once

#include <torch/types.h>

#include <cstdint>
#include <functional>

#include "mos/base/progress.h"
#include "mos/base/stopwatch.h"
#include "mos/region/sample.h"
#include "mos/session/picture_record.h"
#include "mos/session/session.h"

/// Painting with an open session: batch by batch, each picture with the record of how it was made.
namespace mos::session {

/// uint8 [H,W,3] and all that is needed to make it again.
using PictureCallback = std::function<void(const torch::Tensor&, const PictureRecord&)>;

struct PaintHooks {
  ProgressCallback progress;  ///< One stage over the denoising steps of all batches.
  PictureCallback picture;    ///< Each picture, when its batch is done.
  /// Told of the steps of a batch, in the place of what is told of them already; empty: nobody.
  std::function<diffusion::StepCallback(diffusion::StepCallback, const PictureRecord&)> of_batch;
  const CancelToken* cancel = nullptr;
};

/// A record of what `session` would paint now with `scene` and `options`; its seed is that of the
/// first picture.
PictureRecord record_of(const Session& session, region::Scene scene,
                        const region::SampleOptions& options);

/// Paints the pictures of `whole`, whose options count all of them, at most `at_a_time` in one
/// batch; one by one where prompts have choices `{a|b}`, which each picture draws for itself.
/// Required: nobody else uses `session` meanwhile (see there). Hooks are called by this thread.
/// Throws as region::sample_pictures does.
void paint(Session& session, const PictureRecord& whole, const region::PaintInputs& inputs,
           std::int64_t at_a_time, const PaintHooks& hooks);

/// Reports the steps of batch after batch as one stage called "painting". Refers to `tell`.
class PaintProgress {
 public:
  PaintProgress(const ProgressCallback& tell, std::int64_t batches);
  diffusion::StepCallback of_batch(std::int64_t batch) const;

 private:
  const ProgressCallback& tell_;
  std::int64_t batches_;
  Stopwatch watch_;
};

}  // namespace mos::session
