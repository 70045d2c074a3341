#pragma once

#include <string>
#include <vector>

#include "mos/studio/http.h"
#include "mos/studio/job.h"
#include "mos/studio/studio_folder.h"

/// From a request to a job that can be queued, and from there to a command.
namespace mos::studio {

struct Parts;

/// What mos itself says of an order that would fail (jobs/job_check.h).
class Impossible : public Refused {
 public:
  explicit Impossible(std::vector<std::string> problems);
  const std::vector<std::string>& problems() const { return problems_; }

 private:
  std::vector<std::string> problems_;
};

/// The order that `request` means, {"kind", "options", "scene", "words", "title", "dry_run"}: every
/// key and value is known, every path lies in the folder, also those in the record of a picture
/// that is painted on from, and nothing is overwritten. Throws Refused naming the first thing that
/// is wrong, and Impossible.
JobOrder make_order(const Json& request, const Parts& parts);

/// The options of a job as it is run: with the places of its results where it does not say, and of
/// its scene.
Json options_to_run(const Job& job);

/// Flags and words of the command of `job`, "tune --config jobs/12/job.json", without the program.
std::vector<std::string> command_of(const Job& job);
/// The same for people, "mos tune --config jobs/12/job.json".
std::string command_text(const Job& job);

/// Writes what the command reads into the folder of the job.
void write_inputs(const Job& job, const StudioFolder& folder);

}  // namespace mos::studio
