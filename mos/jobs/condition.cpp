#include "mos/jobs/condition.h"

#include <fmt/core.h>

#include "mos/base/error.h"
#include "mos/base/maker.h"
#include "mos/base/outputs.h"
#include "mos/base/record.h"
#include "mos/io/image.h"
#include "mos/io/picture_name.h"
#include "mos/session/output_kinds.h"

namespace mos::jobs {

void check(const ConditionJob& job) {
  if (job.photo.empty() || !io::is_png_name(job.out)) {
    throw Error(ErrorKind::kUsage, "mos condition needs one photo and --out FILE.png");
  }
  check_fields(job);
  if (job.edges.low <= job.edges.high) return;
  throw Error(ErrorKind::kUsage,
              fmt::format("--low {} must not be above --high {}", job.edges.low, job.edges.high));
}

std::filesystem::path run(const ConditionJob& job, const JobContext& context) {
  const log::ScopedSink sink(context.log);
  check(job);
  Outputs outputs;
  outputs.read("the photo", job.photo);
  outputs.read("--config", context.config);
  outputs.write(FileOutput{.name = "--out", .path = job.out, .kind = session::picture_kind()});
  outputs.check();
  const auto picture = io::edge_picture(io::read_image(job.photo).pixels, job.edges);
  if (context.cancel != nullptr) context.cancel->check();
  const auto record =
      maker_record("mos condition",
                   {{"blur", job.edges.blur}, {"high", job.edges.high}, {"low", job.edges.low}});
  io::write_png(job.out, picture, {{kProgramKey, record}}, {.kind = session::picture_kind()});
  tell_result(context, job.out);
  return job.out;
}

}  // namespace mos::jobs
