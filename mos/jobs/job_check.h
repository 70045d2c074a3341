#pragma once

#include <string>
#include <vector>

#include "mos/base/json.h"

/// What is wrong with a job that is not begun: for whoever queues jobs and would hear it late.
namespace mos::jobs {

struct JobRequest {
  std::string kind;  ///< "tune", "fuse", "sample" or "evaluate"; of others nothing is known.
  Json options = Json::object();
  Json scene;  ///< Of "sample" alone; null: none.
};

/// Sentences; empty: nothing shows that would end the job before its work. Files are read, the
/// weights of base models are not.
std::vector<std::string> problems_of(const JobRequest& request);

}  // namespace mos::jobs
