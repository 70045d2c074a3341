#pragma once

#include <string>

#include "mos/base/describe.h"
#include "terminal.h"

namespace mos::app {

/// What a command line has beside the options of the job that it gives.
struct JobFlags {
  std::string config;
  bool dry_run = false;
};

template <class Visitor>
void describe(Visitor& visit, JobFlags& own) {
  visit("config", own.config, "options from a JSON file; flags go over it", a_path());
  visit("dry_run", own.dry_run, "only say how long it will take and how much memory");
}

/// Does `job`, one of mos::jobs, or says what it would cost. Throws as those do.
template <class Job>
int run_job(const Job& job, const JobFlags& own, const Terminal& terminal) {
  const auto context = terminal.context(own.config);
  if (own.dry_run) {
    terminal.tell_estimate(estimate(job, context));
  } else {
    run(job, context);
  }
  return 0;
}

}  // namespace mos::app
