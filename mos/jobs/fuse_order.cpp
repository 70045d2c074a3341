#include "mos/jobs/fuse_order.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "mos/base/counted.h"
#include "mos/base/describe.h"
#include "mos/base/error.h"
#include "mos/base/factor.h"
#include "mos/base/log.h"
#include "mos/base/naming.h"
#include "mos/base/outputs.h"
#include "mos/base/require.h"
#include "mos/base/temporary.h"
#include "mos/fuse/sources.h"
#include "mos/session/output_kinds.h"

namespace mos::jobs {
namespace {

namespace fs = std::filesystem;

std::vector<fuse::ConceptSource> load_sources(const FuseJob& job) {
  if (job.concept_list.empty()) return fuse::load_sources(job.concepts, job.keys.unexpected());
  return fuse::load_source_list(job.concept_list, job.keys.unexpected());
}

void set_scales(std::vector<fuse::ConceptSource>& sources, const std::string& name,
                const std::vector<double>& scales, checkpoint::Part part) {
  if (scales.empty()) return;
  if (scales.size() != sources.size()) {
    throw Error(ErrorKind::kUsage,
                fmt::format("--{} has {} for {}; give one for each concept", name,
                            counted(scales.size(), "number"), counted(sources.size(), "concept")));
  }
  for (std::size_t i = 0; i < sources.size(); ++i) sources[i].scales[part] = scales[i];
}

void rename_words(std::vector<fuse::ConceptSource>& sources,
                  const std::vector<std::string>& texts) {
  std::vector<fuse::Rename> renames;
  for (const auto& text : texts) renames.push_back(fuse::parse_rename(text));
  fuse::rename_words(sources, renames);
}

bool changes_biases(const concepts::ConceptDelta& delta) {
  return std::ranges::any_of(delta.updates, [](const auto& network) {
    return std::ranges::any_of(
        network.second, [](const auto& entry) { return entry.second.bias_difference().defined(); });
  });
}

/// What the LoRA cannot hold shows before the work.
void check_format(const FuseOrder& order) {
  if (order.job.lora.empty()) return;
  concepts::ConceptDelta all;
  for (const auto& source : order.sources) {
    all.words.insert(all.words.end(), source.delta.words.begin(), source.delta.words.end());
  }
  const bool holds_biases = concepts::holds_biases(concepts::forms_held_by(order.lora_format));
  for (const auto& source : order.sources) {
    if (!holds_biases && changes_biases(source.delta)) {
      throw Error(
          ErrorKind::kMismatch,
          fmt::format("{} changes biases, for which a LoRA of this format has no place; write "
                      "--lora-format mos or kohya, or a model with --out",
                      source.name));
    }
  }
  // The fused LoRA: pairs of scale 1.
  // One layer stands for all: what matters is the form.
  all.updates[checkpoint::Part::kUNet]["any"] = concepts::LowRank{};
  concepts::check_holds(order.lora_format, all, order.job.lora);
}

/// In the model's folder. Beside a single file or a LoRA under its name, as others may lie there.
fs::path report_place(const FuseJob& job) {
  constexpr const char* kName = "fusion_report.json";
  const bool is_folder = !job.out.empty() && !checkpoint::is_single_file(job.out);
  if (is_folder) return fs::path(job.out) / kName;
  const fs::path file = job.out.empty() ? job.lora : job.out;
  return file.parent_path() / fmt::format("{}.{}", file.stem().string(), kName);
}

Existing existing(const FuseJob& job) {
  return job.overwrite ? Existing::kReplace : Existing::kRefuse;
}

void check_outputs(const FuseOrder& order, const JobContext& context) {
  const auto& job = order.job;
  Outputs outputs;
  outputs.read("--base", job.base);
  outputs.read("--original-config", job.read.original_config);
  outputs.read("--config", context.config);
  outputs.read("--concept-list", job.concept_list);
  outputs.read("--captions", json_value(order.job.options.of_method, "captions", std::string()));
  for (const auto& source : order.sources) {
    outputs.read("the concept " + source.name, source.file);
  }
  if (!job.out.empty()) session::write_model(outputs, "--out", job.out, existing(job));
  if (!job.lora.empty()) {
    outputs.write(FileOutput{.name = "--lora", .path = job.lora, .kind = session::concept_kind()});
  }
  if (!order.report_is_in_model()) {
    outputs.write(
        FileOutput{.name = "--report", .path = order.report, .kind = session::report_kind()});
  } else if (order.report.extension() != ".json" || checkpoint::is_part_of_model(order.report)) {
    throw Error(ErrorKind::kUsage,
                fmt::format("--report {} would be a part of the model; call it fusion_report.json",
                            order.report.string()));
  }
  outputs.check();
  const auto method = fuse::make_method(order.job.options.method, order.job.options.of_method);
  // Throws now for a TMPDIR that is none, not after minutes.
  if (method->needs().inputs != fuse::Recorded::kNothing) temporary_folder();  // moments go there
}

}  // namespace

bool FuseOrder::report_is_in_model() const {
  if (job.out.empty() || checkpoint::is_single_file(job.out)) return false;
  const auto as_folder = [](const fs::path& path) {
    // "model", "./model/" and "a/../model" are one folder, which need not be there yet.
    return (fs::absolute(path) / "").lexically_normal();
  };
  return as_folder(fs::absolute(report).parent_path()) == as_folder(job.out);
}

void refuse_option_of_others(const std::string& option, const std::string& shown,
                             const std::string& method) {
  const auto takers = fuse::takers_of(option);
  if (takers.empty() || std::ranges::find(takers, method) != takers.end()) return;
  throw Error(ErrorKind::kUsage, fmt::format("{} is no option of the method {}, but of {}", shown,
                                             method, fmt::join(takers, ", ")));
}

std::string method_of(const Json& given, const std::string& origin) {
  return naming(origin, [&] {
    auto method = read_option(given, origin, "method", fuse::FuseOptions().method);
    fuse::method_info(method);
    return method;
  });
}

FuseJob fuse_job(const Json& given, const std::string& origin) {
  FuseJob job;
  if (given.is_object()) {  // read_options refuses others
    job.options.method = method_of(given, origin);
    for (const auto& [key, value] : given.items()) {
      refuse_option_of_others(key, fmt::format("{}: \"{}\"", origin, key), job.options.method);
    }
  }
  naming(origin, [&] { read_options(given, origin, job); });
  return job;
}

void check(const FuseJob& job) {
  require(!job.out.empty() || !job.lora.empty(), "mos fuse needs --out DIR, --lora FILE, or both");
  require(job.concepts.empty() || job.concept_list.empty(),
          "give concept files or --concept-list, not both");
  const FuseJob defaults;
  require(!job.lora.empty() || (job.lora_format.empty() && job.lora_rank == defaults.lora_rank),
          "--lora-format and --lora-rank are of --lora, which is not given");
  check_fields(job);
}

FuseOrder take_order(const FuseJob& job, const JobContext& context) {
  check(job);
  std::error_code code;
  if (!job.out.empty() && !job.overwrite && fs::exists(job.out, code)) {
    throw Error(ErrorKind::kUsage,
                fmt::format("{} exists; choose another --out or add --overwrite", job.out));
  }
  FuseOrder order{.job = job, .sources = {}, .report = job.report};
  if (job.report.empty()) order.report = report_place(job);
  if (!job.lora.empty()) {
    order.lora_format = job.lora_format.empty() ? concepts::format_of_ending(job.lora)
                                                : concepts::concept_format(job.lora_format);
  }
  order.sources = load_sources(job);
  set_scales(order.sources, "text-scales", job.text_scales, checkpoint::Part::kTextEncoder);
  set_scales(order.sources, "unet-scales", job.unet_scales, checkpoint::Part::kUNet);
  for (const auto& source : order.sources) {  // those of --concept-list, too
    for (const auto& [part, scale] : source.scales) {
      check_factor(fmt::format("the factor on the {} of {}", name_of(part), source.name), scale);
    }
  }
  rename_words(order.sources, job.rename);
  fuse::check_options(job.options, order.sources.size());
  fuse::check_words(order.sources, {});
  for (const auto& sentence : fuse::shared_triggers(order.sources)) log::warn(sentence);
  check_format(order);
  check_outputs(order, context);
  return order;
}

}  // namespace mos::jobs
