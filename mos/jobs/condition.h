#pragma once

#include <filesystem>
#include <string>

#include "mos/base/describe.h"
#include "mos/io/edges.h"
#include "mos/jobs/context.h"

/// Making the condition picture of a sketch adapter from a photo.
namespace mos::jobs {

struct ConditionJob {
  std::string photo;
  std::string out;  ///< The picture, .png: edges, white on black.
  io::EdgeOptions edges;
};

template <class Visitor>
void describe(Visitor& visit, ConditionJob& job) {
  visit("photo", job.photo, "the picture whose edges are taken", a_path());
  visit("out", job.out, "the picture, a .png", a_path());
  visit("blur", job.edges.blur, "pixels: larger keeps only coarse edges", between(0, 100));
  visit("high", job.edges.high, "gradient that begins an edge, 0 to 1", between(0, 1));
  visit("low", job.edges.low, "gradient that goes on with one", between(0, 1));
}

/// Throws mos::Error(kUsage) naming the first value that is impossible. Reads nothing.
void check(const ConditionJob& job);

/// Returns the path of the picture. Throws kIo and kFormat for files, kUsage for places.
std::filesystem::path run(const ConditionJob& job, const JobContext& context = {});

}  // namespace mos::jobs
