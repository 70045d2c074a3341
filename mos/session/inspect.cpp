#include "mos/session/inspect.h"

#include <fmt/core.h>

#include <array>
#include <optional>
#include <utility>
#include <variant>

#include "mos/base/error.h"
#include "mos/checkpoint/describe.h"
#include "mos/concepts/describe.h"
#include "mos/diffusion/adapter.h"
#include "mos/diffusion/describe_adapter.h"
#include "mos/io/tensor_file.h"
#include "mos/session/picture_record.h"

namespace mos::session {
namespace {

namespace fs = std::filesystem;

/// What a file is, or nothing when it is of a kind that others know.
using Recogniser = std::optional<Json> (*)(const io::TensorFile&);

// In this sequence: a ControlNet has all keys of a U-Net's first half, and a model may bring the
// rows of concepts.
constexpr std::array kRecognisers = {
    Recogniser{diffusion::describe_adapter},
    Recogniser{checkpoint::describe_model},
    Recogniser{concepts::describe_concept},
};

/// The file with the tensors of `path`: itself, or the weights of a folder with one network.
fs::path tensors_of(const fs::path& path) {
  return fs::is_directory(path) ? checkpoint::weights_in(path) : path;
}

bool is_model_directory(const fs::path& path) {
  return fs::is_directory(path) && checkpoint::is_model_folder(path);
}

Fit fit_of_concept(const concepts::KeyReport& keys) {
  Fit fit{.fits = keys.all_matched(), .keys = keys.summary(), .problems = keys.wrong};
  for (const auto& key : keys.missing) fit.problems.push_back(key + " (missing)");
  for (const auto& [key, why] : keys.unexpected) {
    fit.problems.push_back(fmt::format("{} (unexpected: {})", key, why));
  }
  return fit;
}

Fit fit_of_adapter(const fs::path& path, const diffusion::Model& base) {
  try {
    const auto adapter = diffusion::load_adapter(path, base);
    const auto keys =
        std::visit([](const auto& network) { return io::state_dict_of(*network).size(); }, adapter);
    return {.fits = true, .keys = fmt::format("{} keys matched, 0 missing, 0 unexpected", keys)};
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kMismatch) throw;
    return {.problems = {error.what()}};
  }
}

}  // namespace

Json inspect(const fs::path& path) {
  Json report = {{"file", path.string()}};
  if (is_model_directory(path)) {
    report.update(checkpoint::describe_model_folder(path));
    return report;
  }
  const auto file = io::read_tensor_file(tensors_of(path));
  std::optional<Json> description;
  for (const auto recognise : kRecognisers) {
    if (!description) description = recognise(file);
  }
  report.update(description ? *description : Json{{"kind", "unknown"}});
  if (file.path != path) report["weights"] = file.path.filename().string();
  report.update(checkpoint::describe_tensors(file));
  if (file.path == path) report["sha256"] = file_hash(path);
  return report;
}

Fit fit_onto(const fs::path& path, diffusion::Model& base) {
  if (!is_model_directory(path)) {
    const auto file = io::read_tensor_file(tensors_of(path));
    if (diffusion::describe_adapter(file)) return fit_of_adapter(path, base);
    const auto keys = concepts::compare_with_base(file, base);
    if (keys && !checkpoint::describe_model(file)) return fit_of_concept(*keys);
  }
  throw Error(ErrorKind::kUsage,
              fmt::format("{} goes onto no base model; --base is for LoRA, embeddings, concepts, "
                          "T2I-Adapters and ControlNets",
                          path.string()));
}

Json to_json(const Fit& fit) {
  Json json = {{"fits", fit.fits}};
  if (!fit.keys.empty()) json["keys"] = fit.keys;
  if (!fit.problems.empty()) json["problems"] = fit.problems;
  return json;
}

}  // namespace mos::session
