#pragma once

#include <string>

#include "mos/region/foreign_options.h"

/// What A1111's line of options says about the sampler: its name, schedule, variant and eta.
namespace mos::region {

/// Whether `key` is one of those.
bool is_a1111_sampling(const std::string& key);

/// Reads them from `fields`, all of A1111's line by key. Says in `left_out` what is not here.
void take_a1111_sampling(const A1111Fields& fields, ForeignRecord& record);

/// The sampler and the schedule that paint with `options`: "Sampler: Euler a, Schedule type: …".
std::string a1111_sampler(const SampleOptions& options);

/// What further belongs to it, each with ", " before it; A1111 writes these behind its own options.
std::string a1111_sampler_extras(const SampleOptions& options);

}  // namespace mos::region
