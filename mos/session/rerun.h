#pragma once

#include <torch/types.h>

#include <string>
#include <vector>

#include "mos/session/concept_keys.h"
#include "mos/session/paint.h"
#include "mos/session/picture_record.h"

/// Painting a picture once more from its own record.
namespace mos::session {

/// Where files of a record are now; empty: where they were.
struct MovedFiles {
  std::string base;
  /// How the base is read there. Its hash tells the right weights wherever they lie, so one that
  /// has moved is read without the record's variant; what it predicts is part of the picture.
  checkpoint::ReadOptions read;
  std::vector<std::string> concepts, adapters, pictures;
  std::string init, mask;                 ///< Of the picture that it began with.
  std::vector<std::string> region_masks;  ///< Of the regions that have one, in their order.
};

/// `record` with the files of `moved` in the place of its own. Throws kUsage where another number
/// of files is named than it has, a picture that it did not begin with, or another prediction type.
PictureRecord with_moved(PictureRecord record, const MovedFiles& moved);

/// Paints the batch that the picture of `record` was painted in, and returns that picture, uint8
/// [H,W,3]: with the threads and the precision of then, from the files of with_moved().
/// Throws kMismatch when files are others than the record's.
torch::Tensor repaint(const PictureRecord& record, const MovedFiles& moved, const KeyOptions& keys,
                      const PaintHooks& hooks);

}  // namespace mos::session
