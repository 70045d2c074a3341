#include <ATen/Parallel.h>
#include <fmt/core.h>
#include <torch/version.h>

#include <algorithm>
#include <filesystem>

#include "command.h"
#include "compute.h"
#include "concept_keys.h"
#include "flags.h"
#include "fuse_options.h"
#include "mos/base/describe.h"
#include "mos/base/file.h"
#include "mos/base/log.h"
#include "mos/base/outputs.h"
#include "mos/base/record.h"
#include "mos/base/temporary.h"
#include "mos/concepts/concept_writer.h"
#include "mos/fuse/fuse_concepts.h"
#include "mos/fuse/sources.h"
#include "output_kinds.h"
#include "terminal.h"
#include "trial.h"

namespace mos::app {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLoraFormats = "mos, kohya, peft, diffusers or official";

void print_help() {
  fmt::print(
      "usage: mos fuse CONCEPT[=WORDS]... [--base DIR] [--out DIR] [--lora FILE] [options]\n\n"
      "Fuses concepts into one model: files of mos tune, the authors' .pth, LoRA of kohya, PEFT "
      "and\n"
      "diffusers, and Textual Inversion embeddings. WORDS is how a concept stands in a prompt: "
      "the\n"
      "trigger words of a LoRA that has none of its own, as in \"dog.safetensors=sks dog\".\n\n"
      "  --{:<22} base model: a diffusers directory or a single file [base]\n"
      "  --{:<22} write the fused model: a directory, or one file (.safetensors)\n"
      "  --{:<22} write the same as a plain LoRA with the concept words\n"
      "  --{:<22} its format: {} [by its ending]\n"
      "  --{:<22} rank for each concept where some are no plain LoRA [64]\n"
      "  --{:<22} where fusion_report.json goes [beside the result]\n"
      "  --{:<22} concepts from the authors' JSON list instead of file names\n"
      "  --{:<22} factor on each concept's text-encoder LoRA, one for each\n"
      "  --{:<22} factor on each concept's U-Net LoRA, one for each\n"
      "  --{:<22} new names for words that clash: <old>=<new> or 2:<old>=<new>\n"
      "  --{:<22} options from a JSON file; flags overrule it\n"
      "  --{:<22} replace --out if it exists\n"
      "  --{:<22} only say how long it will take and how much memory\n"
      "  --{:<22} cpu, cuda or cuda:NUMBER [cpu]\n"
      "{}{}{}",
      "base", "out", "lora", "lora-format", kLoraFormats, "lora-rank", "report", "concept-list",
      "text-scales", "unet-scales", "rename", "config", "overwrite", "dry-run", "device",
      kKeyFlagsHelp, flag_help<checkpoint::ReadOptions>(), fuse_options_help());
}

/// What the command line says, checked as far as is possible without the model.
struct Job {
  fs::path base;
  checkpoint::ReadOptions read;
  torch::Device device = torch::kCPU;
  std::optional<fs::path> config, list, out, lora;
  fs::path report;
  Existing existing = Existing::kRefuse;
  std::vector<fuse::ConceptSource> sources;
  concepts::ConceptFormat lora_format = concepts::ConceptFormat::kMos;
  std::int64_t lora_rank = 64;
  KeyOptions keys;
  fuse::FuseOptions options;
  bool dry_run = false;
};

std::vector<fuse::ConceptSource> take_sources(Flags& flags, const Job& job) {
  if (!job.list) return fuse::load_sources(flags.words(), job.keys.unexpected);
  if (!flags.words().empty()) {
    throw Error(ErrorKind::kUsage, "give concept files or --concept-list, not both");
  }
  return fuse::load_source_list(*job.list, job.keys.unexpected);
}

void take_scales(Flags& flags, const std::string& name, std::vector<fuse::ConceptSource>& sources,
                 checkpoint::Part part) {
  const auto text = flags.take(name);
  if (!text) return;
  std::vector<double> scales;
  detail::parse_value(name, *text, scales);
  if (scales.size() != sources.size()) {
    throw Error(ErrorKind::kUsage, fmt::format("--{} has {} numbers for {} concepts", name,
                                               scales.size(), sources.size()));
  }
  for (std::size_t i = 0; i < sources.size(); ++i) sources[i].scales[part] = scales[i];
}

void take_renames(Flags& flags, std::vector<fuse::ConceptSource>& sources) {
  std::vector<fuse::Rename> renames;
  for (const auto& text : detail::split_list(flags.take("rename").value_or(""))) {
    renames.push_back(fuse::parse_rename(text));
  }
  fuse::rename_words(sources, renames);
}

bool changes_biases(const concepts::ConceptDelta& delta) {
  return std::ranges::any_of(delta.updates, [](const auto& network) {
    return std::ranges::any_of(
        network.second, [](const auto& entry) { return entry.second.bias_difference().defined(); });
  });
}

/// What --lora cannot hold shows before the work.
void check_format(const Job& job) {
  if (!job.lora) return;
  concepts::ConceptDelta all;
  for (const auto& source : job.sources) {
    all.words.insert(all.words.end(), source.delta.words.begin(), source.delta.words.end());
  }
  const bool holds_biases = concepts::forms_held_by(job.lora_format) == concepts::HeldForms::kAll;
  for (const auto& source : job.sources) {
    if (!holds_biases && changes_biases(source.delta)) {
      throw Error(
          ErrorKind::kMismatch,
          fmt::format("{} changes biases, for which a LoRA of this format has no place; write "
                      "--lora-format mos or kohya, or a model with --out",
                      source.name));
    }
  }
  all.updates[checkpoint::Part::kUNet]["any"] =
      concepts::LowRank{};  // the fused LoRA: pairs of scale 1
  concepts::check_holds(job.lora_format, all, *job.lora);
}

/// The model's folder, or that of its file, or that of the LoRA.
fs::path report_folder(const Job& job) {
  if (!job.out) return job.lora->parent_path();
  return checkpoint::is_single_file(*job.out) ? job.out->parent_path() : *job.out;
}

Job take_job(Flags& flags) {
  Job job;
  job.config = flags.take_path("config");
  job.options = take_fuse_options(flags, job.config);
  job.base = flags.take_path("base").value_or("base");
  read_flags(flags, job.read);
  job.out = flags.take_path("out");
  job.lora = flags.take_path("lora");
  const auto report = flags.take_path("report");
  if (flags.take_switch("overwrite")) job.existing = Existing::kReplace;
  if (!job.out && !job.lora) {
    throw Error(ErrorKind::kUsage, "mos fuse needs --out DIR, --lora FILE, or both");
  }
  job.report = report.value_or(report_folder(job) / "fusion_report.json");
  if (job.out && job.existing == Existing::kRefuse && fs::exists(*job.out)) {
    throw Error(ErrorKind::kUsage, fmt::format("{} exists; choose another --out or add --overwrite",
                                               job.out->string()));
  }
  job.dry_run = flags.take_switch("dry-run");
  job.device = device_named(flags.take("device").value_or("cpu"));
  job.keys = take_key_options(flags);
  const auto format = flags.take("lora-format");
  if (job.lora) {
    job.lora_format =
        format ? concepts::concept_format(*format) : concepts::format_of_ending(*job.lora);
  }
  if (const auto rank = flags.take("lora-rank")) {
    detail::parse_value("lora-rank", *rank, job.lora_rank);
    if (job.lora_rank < 1) throw Error(ErrorKind::kUsage, "--lora-rank must be from 1 on");
  }
  job.list = flags.take_path("concept-list");
  job.sources = take_sources(flags, job);
  take_scales(flags, "text-scales", job.sources, checkpoint::Part::kTextEncoder);
  take_scales(flags, "unet-scales", job.sources, checkpoint::Part::kUNet);
  take_renames(flags, job.sources);
  flags.refuse_unknown();
  fuse::check_options(job.options, job.sources.size());
  job.options = fuse::complete_options(job.options, job.sources.size());
  fuse::check_words(job.sources, {});
  for (const auto& sentence : fuse::shared_triggers(job.sources)) log::warn(sentence);
  check_format(job);
  return job;
}

/// A concept remembers the base it was tuned on; another base of the same shape is only warned of.
void compare_base(const Job& job, const std::string& hash) {
  for (const auto& source : job.sources) {
    const auto tuned_on = source.delta.metadata.find("base_model");
    if (tuned_on == source.delta.metadata.end() || tuned_on->second == hash) continue;
    log::warn(
        fmt::format("{} was tuned on another base model than {}", source.name, job.base.string()));
  }
}

Json full_report(const Job& job, const fuse::FusionResult& result) {
  Json report = {{kProgramKey, MOS_VERSION},
                 {"libtorch", TORCH_VERSION},
                 {"base", job.base.string()},
                 {"base_read", write_options(job.read)},
                 {"threads", at::get_num_threads()},  // sums are rounded by their order
                 {"options", write_options(job.options)}};
  report.update(result.report.to_json());
  for (std::size_t i = 0; i < job.sources.size(); ++i) {
    const auto& source = job.sources[i];
    auto& entry = report["sources"][source.name] = {{"phrase", source.prompt_phrase()}};
    for (const auto part : checkpoint::kTunedParts) {
      entry[fmt::format("{}_scale", folder_of(part))] = source.scale(part);
    }
  }
  return report;
}

/// Whether the report is one of the files in the folder of the model, which appears with all of
/// them.
bool is_report_in_model(const Job& job) {
  if (!job.out || checkpoint::is_single_file(*job.out)) return false;
  const auto as_folder = [](const fs::path& path) {
    return (fs::absolute(path) / "").lexically_normal();
  };
  return as_folder(job.report.parent_path()) == as_folder(*job.out);
}

void check_outputs(const Job& job) {
  Outputs outputs;
  outputs.read("--base", job.base);
  outputs.read("--original-config", job.read.original_config);
  outputs.read("--config", job.config.value_or(""));
  outputs.read("--concept-list", job.list.value_or(""));
  outputs.read("--captions", json_value(job.options.of_method, "captions", std::string()));
  for (const auto& source : job.sources) outputs.read("the concept " + source.name, source.file);
  if (job.out) write_model(outputs, "--out", *job.out, job.existing);
  if (job.lora) {
    outputs.write(FileOutput{.name = "--lora", .path = *job.lora, .kind = concept_kind()});
  }
  if (!is_report_in_model(job)) {
    outputs.write(FileOutput{.name = "--report", .path = job.report, .kind = record_kind()});
  } else if (job.report.extension() != ".json" || checkpoint::is_part_of_model(job.report)) {
    throw Error(ErrorKind::kUsage,
                fmt::format("--report {} would be a part of the model; call it fusion_report.json",
                            job.report.string()));
  }
  outputs.check();
  const auto method = fuse::make_method(job.options.method, job.options.of_method);
  if (method->needs().inputs != fuse::Recorded::kNothing) temporary_folder();  // moments go there
}

/// Fuses the first concept alone, with two denoising steps, and says what that means for all.
void estimate(const Job& job, diffusion::Model& model, double loading, const CancelToken* cancel) {
  constexpr std::int64_t kTrialSteps = 2;  // the first also warms up
  auto options = job.options;
  options.record.steps = std::min(options.record.steps, kTrialSteps);
  options.record.samples = 1;
  options.weights.clear();
  Stopwatch watch;
  double recording = 0.0, step = 0.0, step_again = 0.0, merging = 0.0;
  const auto on_step = [&](const Progress& progress) {
    const double lap = watch.lap();
    if (progress.stage.starts_with("sampling")) {
      (progress.stage.find(" again (") == std::string::npos ? step : step_again) = lap;
    } else {
      (progress.stage.starts_with("recording") ? recording : merging) += lap;
    }
  };
  fuse::fuse_concepts(model, {job.sources.front()}, options, on_step, cancel);
  merging += watch.lap();
  const auto concepts = static_cast<double>(job.sources.size());
  const auto& record = job.options.record;
  if (recording + step == 0.0) {
    print_estimate(loading + merging * concepts, "measured on the first concept");
    return;
  }
  const auto steps =
      step > 0.0 ? concepts * static_cast<double>(record.steps * record.samples) : 0.0;
  const auto rounds = json_value(job.options.of_method, "rounds", std::int64_t{0});
  const auto sampling = steps * (step + step_again * static_cast<double>(rounds));
  print_estimate(loading + merging + recording * concepts + sampling,
                 fmt::format("measured on {} of {} denoising steps, {:.2f} s each",
                             options.record.steps, steps, step));
}

/// As pairs of factors, whatever forms the concepts have.
void write_lora(const Job& job, const concepts::ConceptDelta& delta) {
  using concepts::HeldForms;
  const bool holds_biases = concepts::forms_held_by(job.lora_format) == HeldForms::kAll;
  const auto rank = job.lora_rank * static_cast<std::int64_t>(job.sources.size());
  const auto reduced = concepts::reduced_to(
      holds_biases ? HeldForms::kPairsAndBiases : HeldForms::kPairs, delta, rank);
  if (reduced.layers > 0) fmt::print("{}\n", concepts::cost_text(reduced, rank));
  concepts::write_concept(*job.lora, reduced.delta, job.lora_format);
}

/// Writes each result whatever becomes of the others; throws what the first failure was.
class Results {
 public:
  template <class Write>
  void write(const fs::path& path, Write write) {
    try {
      write();
      written_.push_back(path);
    } catch (const Error& error) {
      if (!failure_) failure_ = error;
    }
  }

  bool any() const { return !written_.empty(); }

  void finish() const {
    for (const auto& path : written_) fmt::print("{}\n", path.string());
    if (failure_) throw *failure_;
  }

 private:
  std::vector<fs::path> written_;
  std::optional<Error> failure_;
};

void write_results(const Job& job, const diffusion::Model& model, const fuse::FusionResult& result,
                   const CancelToken* cancel) {
  const auto total = result.report.total();
  if (total.before > 0.0) {
    fmt::print("error of the concepts' outputs: {:.4g} in the base model, {:.4g} fused\n",
               total.before, total.after);
  }
  log::info(fmt::format("fused in {}", result.report.measured()));
  const auto report = json_text(full_report(job, result), 2) + "\n";
  Results results;
  // The small file first: it is there even if the disk is too small for a model.
  if (job.lora) {
    results.write(*job.lora, [&] { write_lora(job, result.delta); });
  }
  diffusion::SaveOptions save{.existing = job.existing, .write = {.cancel = cancel}};
  if (is_report_in_model(job)) save.write.notes[job.report.filename().string()] = report;
  if (job.out) results.write(*job.out, [&] { model.save(*job.out, save); });
  if (!is_report_in_model(job) && results.any()) {  // of nothing there is nothing to report
    results.write(job.report, [&] { write_text_file(job.report, report); });
  }
  results.finish();
}

}  // namespace

int run_fuse(int argc, char** argv) {
  Flags flags(argc, argv);
  if (flags.take_switch("help")) {
    print_help();
    return 0;
  }
  Stopwatch watch;
  auto job = take_job(flags);
  check_outputs(job);
  auto model = diffusion::Model::load(
      job.base, {.dtype = std::nullopt, .device = job.device, .read = job.read});
  const auto hash = diffusion::model_hash(model);
  compare_base(job, hash);
  for (auto& source : job.sources) {
    settle_keys(source.name, model, source.delta, source.keys, job.keys);
  }
  const auto* cancel = cancel_on_interrupt();
  if (job.dry_run) {
    estimate(job, model, watch.lap(), cancel);
    return 0;
  }
  auto result = fuse::fuse_concepts(model, job.sources, job.options, ProgressBar(), cancel);
  result.delta.metadata["base_model"] = hash;
  write_results(job, model, result, cancel);
  return 0;
}

}  // namespace mos::app
