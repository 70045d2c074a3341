#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "mos/studio/job.h"
#include "mos/studio/studio_folder.h"

/// Results that jobs have yet to write: a name that is free on the disk may be taken all the same.
namespace mos::studio {

/// Options that name what a job writes, and nothing else may have.
const std::vector<std::string>& written_options();

/// The job that will write a path.
using Claims = std::map<std::string, std::int64_t>;

/// What `jobs`, none of which is over, will write, as `order` has to heed it. A tuning that says
/// "fresh" takes the place of one of the same pictures that is stopped.
Claims claims_on(const JobOrder& order, const std::vector<Job>& jobs);

/// Throws Refused(409) where a job will write `path`; `what` is what messages call it.
void refuse_claimed(const Claims& claims, const std::string& what, const std::string& path);
/// The same for all that `order` says it writes.
void refuse_claimed(const Claims& claims, const JobOrder& order);

/// Throws Error(kUsage) where something is that `order` says it writes.
void refuse_places_taken(const StudioFolder& folder, const JobOrder& order);

/// Where the concept file of a tuning goes that does not say: to the newest of `tunings` that was
/// stopped half-way on the same pictures, whose checkpoint lies there, else to a free name.
std::string place_to_tune(const JobOrder& order, const StudioFolder& folder, const Claims& claims,
                          const std::vector<Job>& tunings);

}  // namespace mos::studio
