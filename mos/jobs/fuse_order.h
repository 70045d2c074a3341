#pragma once

#include <filesystem>
#include <vector>

#include "mos/concepts/concept_writer.h"
#include "mos/jobs/fuse.h"

/// A fusion as far as it is known without the base model. Of fuse.h alone.
namespace mos::jobs {

struct FuseOrder {
  const FuseJob& job;
  std::vector<fuse::ConceptSource> sources;
  concepts::ConceptFormat lora_format = concepts::ConceptFormat::kMos;
  std::filesystem::path report;

  /// Whether the report is one of the files in the folder of the model, which appears with all of
  /// them.
  bool report_is_in_model() const;
};

/// Reads the concept files and checks everything that can be without the model: words, formats,
/// places. Refers to `job`.
FuseOrder take_order(const FuseJob& job, const JobContext& context);

}  // namespace mos::jobs
