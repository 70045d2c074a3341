#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "mos/studio/parts.h"

/// What the dialects of others share: a picture that is asked for and waited for.
namespace mos::studio {

struct Painted {
  Job job;
  std::vector<std::string> pictures;  ///< Bytes of each PNG.
  std::vector<std::string> infotexts;
  std::vector<std::int64_t> seeds;
};

/// Queues `request` (as POST /mos/v1/jobs has it) and waits for its pictures. Throws Refused: 400
/// for the request, 409 when it was cancelled, 500 with what the job said when it failed. `queued`
/// is told the job before it is waited for.
Painted paint(Parts& parts, const Json& request,
              const std::function<void(std::int64_t id)>& queued = {});

/// A picture in base64, with or without "data:…;base64,", as a file of uploads/. Returns its path.
/// `name` is the field that it came in, for messages.
std::string keep_upload(Parts& parts, const std::string& base64, const std::string& name);

/// Throws Refused(400) unless `count` pictures are as many as one request of theirs may ask for.
void check_count(const std::string& field, std::int64_t count);

/// Where `name` is among the models: its path, or its file name without ending; empty: nowhere.
std::string model_named(const StudioFolder& folder, const std::string& name);

/// A seed that nobody has chosen, below 2³².
std::int64_t random_seed();

/// The rows of `mos sample --list-schedulers`, {name here, A1111's}, of both its tables.
struct SamplerNames {
  std::vector<std::array<std::string, 2>> schedulers, sigmas;
};
SamplerNames sampler_names(Forms& forms);

}  // namespace mos::studio
