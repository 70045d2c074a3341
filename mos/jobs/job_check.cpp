#include "mos/jobs/job_check.h"

#include <fmt/core.h>

#include <filesystem>
#include <utility>

#include "mos/base/describe.h"
#include "mos/base/error.h"
#include "mos/jobs/evaluate.h"
#include "mos/jobs/fuse_order.h"
#include "mos/jobs/sample.h"
#include "mos/jobs/tune.h"

namespace mos::jobs {
namespace {

using Problems = std::vector<std::string>;

constexpr const char* kOrigin = "the options";

JobContext silent() {
  JobContext context;
  context.log = [](log::Level, std::string_view) {};
  return context;
}

Problems problems_of_sample(const JobRequest& request) {
  auto job = sample_job(request.options, kOrigin);
  if (!request.scene.is_null()) job.scene_json = request.scene;
  check_files(job);
  return {};
}

Problems problems_of_tune(const JobRequest& request) {
  auto job = tune_job(request.options, kOrigin);
  if (job.out.empty()) job.out = "none.safetensors";  // of a dry run
  check(job);
  return check_data(job, silent()).problems;
}

Problems problems_of_fuse(const JobRequest& request) {
  auto job = fuse_job(request.options, kOrigin);
  if (job.out.empty() && job.lora.empty()) job.out = "fused/none";  // it gets a place of its own
  (void)take_order(job, silent());
  return {};
}

Problems problems_of_evaluate(const JobRequest& request) {
  EvaluateJob job;
  read_options(request.options, kOrigin, job);
  check(job);
  return {};
}

Problems find_problems(const JobRequest& request) {
  if (request.kind == "sample") return problems_of_sample(request);
  if (request.kind == "tune") return problems_of_tune(request);
  if (request.kind == "fuse") return problems_of_fuse(request);
  if (request.kind == "evaluate") return problems_of_evaluate(request);
  return {};
}

}  // namespace

Problems problems_of(const JobRequest& request) {
  const log::ScopedSink sink(silent().log);
  try {
    return find_problems(request);
  } catch (const Error& error) {
    return {error.what()};
  }
}

}  // namespace mos::jobs
