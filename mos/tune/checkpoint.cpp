#include "mos/tune/checkpoint.h"

#include <fmt/core.h>

#include <map>
#include <string>
#include <vector>

#include "mos/base/error.h"
#include "mos/base/json.h"
#include "mos/io/finite.h"
#include "mos/io/safetensors.h"

namespace mos::tune {

namespace {

constexpr const char* kValues = "value/";
constexpr const char* kMoments = "optimiser/";

std::vector<NamedParameter> all_parameters(const AttachedConcept& attached) {
  auto all = attached.rows();
  all.insert(all.end(), attached.text_lora().begin(), attached.text_lora().end());
  all.insert(all.end(), attached.unet_lora().begin(), attached.unet_lora().end());
  return all;
}

/// The first option whose value differs, for the message.
std::string difference(const std::string& before, const std::string& now) {
  const auto old_options = Json::parse(before, nullptr, /*allow_exceptions=*/false);
  const auto new_options = Json::parse(now, nullptr, /*allow_exceptions=*/false);
  if (!old_options.is_object() || !new_options.is_object()) return "other options";
  for (const auto& [name, value] : new_options.items()) {
    const auto old_value = old_options.value(name, Json());
    if (old_value != value) {
      return fmt::format("\"{}\" {} instead of {}", name, old_value.dump(), value.dump());
    }
  }
  return "other options";
}

void check_identity(const std::map<std::string, std::string>& metadata, const RunIdentity& now,
                    const std::string& origin) {
  const auto differs = [&](const char* key, const std::string& value) {
    const auto found = metadata.find(key);
    return found == metadata.end() || found->second != value;
  };
  std::string reason;
  if (differs("base", now.base)) {
    reason = "another base model";
  } else if (differs("prediction", now.prediction)) {
    reason = "another prediction type of the base model";
  } else if (differs("data", now.data)) {
    reason = "other pictures, masks or captions";
  } else if (differs("options", now.options)) {
    const auto found = metadata.find("options");
    reason = difference(found == metadata.end() ? "" : found->second, now.options);
  }
  if (reason.empty()) return;
  throw Error(ErrorKind::kMismatch,
              fmt::format("the checkpoint {} is of a run with {}; run that again, or delete the "
                          "file to start anew",
                          origin, reason));
}

}  // namespace

void save_checkpoint(const std::filesystem::path& path, const RunIdentity& identity,
                     const RunState& state, const AttachedConcept& attached,
                     const AdamW& optimiser) {
  io::StateDict dict;
  for (const auto& parameter : all_parameters(attached)) {
    dict[kValues + parameter.name] = parameter.value.detach();
  }
  for (const auto& [name, moment] : optimiser.state()) dict[kMoments + name] = moment;
  const Json run = {{"step", state.step},
                    {"rows_frozen", state.rows_frozen},
                    {"smoothed_loss", state.smoothed_loss}};
  io::save_safetensors(path, dict,
                       {{"run", run.dump()},
                        {"options", identity.options},
                        {"base", identity.base},
                        {"prediction", identity.prediction},
                        {"data", identity.data}});
}

RunState load_checkpoint(const std::filesystem::path& path, const RunIdentity& identity,
                         AttachedConcept& attached, AdamW& optimiser) {
  torch::NoGradGuard no_grad;
  const io::SafetensorsFile file(path);
  const auto origin = path.string();
  check_identity(file.metadata(), identity, origin);
  const auto found = file.metadata().find("run");
  if (found == file.metadata().end()) {
    throw Error(ErrorKind::kFormat, origin + " is not a checkpoint of this program");
  }
  const auto run = parse_json(found->second, origin);
  const RunState state{.step = json_required<std::int64_t>(run, "step"),
                       .rows_frozen = json_required<bool>(run, "rows_frozen"),
                       .smoothed_loss = json_required<double>(run, "smoothed_loss")};
  for (auto& parameter : all_parameters(attached)) {
    const auto saved = file.get(kValues + parameter.name);
    if (saved.sizes() != parameter.value.sizes()) {
      throw Error(ErrorKind::kMismatch,
                  fmt::format("{} has {} in another shape", origin, parameter.name));
    }
    io::check_finite(saved, origin, parameter.name);
    parameter.value.copy_(saved);
  }
  io::StateDict moments;
  const std::string prefix = kMoments;
  for (const auto& tensor : file.tensors()) {
    if (tensor.name.rfind(prefix, 0) == 0) {
      auto& moment = moments[tensor.name.substr(prefix.size())];
      moment = file.get(tensor.name);
      io::check_finite(moment, origin, tensor.name);
    }
  }
  optimiser.load(moments, state.step);
  return state;
}

}  // namespace mos::tune
