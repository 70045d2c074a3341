#pragma once

#include <filesystem>

#include "mos/base/describe.h"
#include "mos/base/naming.h"

/// A stage of pretraining lives in a folder that remembers its options: a run that is taken up
/// again needs none of them.
namespace mos::pretrain {

/// Where a stage keeps its options.
std::filesystem::path options_of_stage(const std::filesystem::path& folder);

/// The form of all JSON files of a base.
void write_json(const std::filesystem::path& path, const Json& value);

/// Makes `folder` and keeps `options` there. Throws kUsage for a folder with something in it that
/// no stage has begun, since its files would be replaced; kIo.
void keep_options(const std::filesystem::path& folder, const Json& options);

/// `options`, over which go those that `folder` has kept.
template <class Options>
Options kept_options(const std::filesystem::path& folder, Options options = {}) {
  const auto path = options_of_stage(folder);
  if (!std::filesystem::exists(path)) return options;
  read_options(read_json_file(path), path.string(), options);
  naming(path.string(), [&] { check_fields(options); });
  return options;
}

/// The same with `given`, an object, over them, and keeps what came out. `origin` is what messages
/// call `given`.
template <class Options>
Options take_up(const std::filesystem::path& folder, const Json& given, const std::string& origin,
                Options options = {}) {
  options = kept_options(folder, options);
  read_options(given, origin, options);
  naming(origin, [&] { check_fields(options); });
  keep_options(folder, write_options(options));
  return options;
}

}  // namespace mos::pretrain
