#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "mos/base/json.h"
#include "mos/diffusion/model.h"

/// What a file is, and what it goes with, as an object for forms and terminals.
namespace mos::session {

/// What `path` is, without loading it: kind, family, precision, metadata, what it loads onto, and
/// of a base model what can be used with it. `"kind": "unknown"` for tensors that mean nothing.
/// Throws kIo and kFormat for what is no file of tensors and no folder of a model.
Json inspect(const std::filesystem::path& path);

/// Whether a file goes onto a base model.
struct Fit {
  bool fits = false;
  std::string keys;                   ///< What became of its keys; empty: they were not counted.
  std::vector<std::string> problems;  ///< A sentence each.
};

/// `base` may be of shapes alone (diffusion::Model::shapes). Throws kUsage for what is put onto no
/// base model, such as a base model.
Fit fit_onto(const std::filesystem::path& path, diffusion::Model& base);

Json to_json(const Fit& fit);

}  // namespace mos::session
