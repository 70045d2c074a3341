#include "mos/tune/checkpoint.h"

#include <fmt/core.h>

#include <exception>
#include <map>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "mos/base/error.h"
#include "mos/base/json.h"
#include "mos/base/log.h"
#include "mos/io/finite.h"
#include "mos/io/mapped_file.h"
#include "mos/io/safetensors.h"

namespace mos::tune {

namespace {

constexpr const char* kValues = "value/";
constexpr const char* kMoments = "optimiser/";

void check_identity(const std::map<std::string, std::string>& metadata, const RunIdentity& now,
                    const std::string& origin) {
  // Whatever else lies at this place is not ours to go on from.
  if (!metadata.contains("run")) throw Error(ErrorKind::kFormat, "it is of something else");
  if (const auto reason = difference_of(metadata, now); !reason.empty()) {
    throw Error(ErrorKind::kMismatch,
                fmt::format("the checkpoint {} is of a run with {}; run that again, or start anew "
                            "with --fresh",
                            origin, reason));
  }
  const auto program = metadata.find("program");
  if (program != metadata.end() && program->second != now.program) {
    log::warn(
        fmt::format("the checkpoint {} was written by {}, this is {}: the concept will not "
                    "be that of an uninterrupted run to the last bit",
                    origin, program->second, now.program));
  }
}

RunState parse_state(const std::string& text, const std::string& origin) {
  const auto run = parse_json(text, origin);
  const auto frozen = json_required<std::vector<std::string>>(run, "frozen");
  const RunState state{.step = json_required<std::int64_t>(run, "step"),
                       .previewed = json_required<std::int64_t>(run, "previewed"),
                       .frozen = {frozen.begin(), frozen.end()},
                       .smoothed_loss = json_required<double>(run, "smoothed_loss")};
  if (state.step < 0) throw Error(ErrorKind::kFormat, fmt::format("its step is {}", state.step));
  return state;
}

void copy_values(const io::SafetensorsFile& file, const AttachedConcept& attached,
                 const std::string& origin) {
  for (auto& parameter : attached.parameters()) {
    const auto saved = file.get(kValues + parameter.name);
    if (saved.sizes() != parameter.value.sizes()) {
      throw Error(ErrorKind::kMismatch, parameter.name + " has another shape in it");
    }
    io::check_finite(saved, origin, parameter.name);
    // Into the leaves that the optimiser and all replicas hold.
    parameter.value.copy_(saved);
  }
}

io::StateDict moments_of(const io::SafetensorsFile& file, const std::string& origin) {
  io::StateDict moments;
  const std::string prefix = kMoments;
  for (const auto& tensor : file.tensors()) {
    if (tensor.name.starts_with(prefix)) {
      auto& moment = moments[tensor.name.substr(prefix.size())];
      moment = file.get(tensor.name);
      io::check_finite(moment, origin, tensor.name);
    }
  }
  return moments;
}

/// What readers say of damaged files ("fetch it again") helps nobody here: there is no other copy.
[[noreturn]] void refuse_damaged(const std::string& origin) {
  throw Error(ErrorKind::kFormat,
              fmt::format("cannot go on from {}: it is no checkpoint, or a damaged one; start anew "
                          "with --fresh",
                          origin));
}

}  // namespace

void save_checkpoint(const CheckpointPlace& place, const RunIdentity& identity,
                     const RunState& state, const AttachedConcept& attached,
                     const train::Optimiser& optimiser) {
  io::LazyDict dict;
  for (const auto& parameter : attached.parameters()) {
    dict[kValues + parameter.name] = io::lazy_tensor(parameter.value.detach());
  }
  // With the moments a run goes on as if it had never stopped, to the last bit.
  for (const auto& [name, moment] : optimiser.state()) {
    dict[kMoments + name] = io::lazy_tensor(moment);
  }
  const Json run = {{"step", state.step},
                    {"previewed", state.previewed},
                    {"frozen", state.frozen},
                    {"smoothed_loss", state.smoothed_loss}};
  auto metadata = entries_of(identity);
  metadata["run"] = run.dump();
  io::write_safetensors(place.path, std::move(dict), metadata, {.file = place.rules});
}

bool is_checkpoint(const std::filesystem::path& path) {
  // Behind the length of the header. Keys are sorted, and only a checkpoint has this one.
  constexpr std::size_t kLengthBytes = 8;
  constexpr std::string_view kBeginning = R"({"__metadata__":{"base":)";
  const io::MappedFile file(path);
  const auto text = file.text();
  return text.size() > kLengthBytes && text.substr(kLengthBytes).starts_with(kBeginning);
}

std::optional<std::int64_t> checkpoint_step(const std::filesystem::path& path) {
  try {
    const io::SafetensorsFile file(path);
    return parse_state(file.metadata().at("run"), path.string()).step;
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

std::string other_run_at(const std::filesystem::path& path, const RunIdentity& now) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return "";
  try {
    return difference_of(io::SafetensorsFile(path).metadata(), now);
  } catch (const Error&) {
    return "";
  }
}

RunState load_checkpoint(const std::filesystem::path& path, const RunIdentity& identity,
                         AttachedConcept& attached, train::Optimiser& optimiser) {
  torch::NoGradGuard no_grad;
  const auto origin = path.string();
  bool is_this_run = false;
  try {
    const io::SafetensorsFile file(path);
    check_identity(file.metadata(), identity, origin);
    is_this_run = true;
    const auto state = parse_state(file.metadata().at("run"), origin);
    copy_values(file, attached, origin);
    optimiser.load(moments_of(file, origin), state.step);
    return state;
  } catch (const Error& error) {
    const bool damaged =
        // A file of another run is told by its difference; one of this run that does not fit is
        // damaged.
        is_this_run ? error.kind() != ErrorKind::kIo : error.kind() == ErrorKind::kFormat;
    if (damaged) refuse_damaged(origin);
    throw;
  }
}

}  // namespace mos::tune
