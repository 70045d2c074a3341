#include "mos/study/workbench.h"

#include <fmt/core.h>

#include <optional>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/base/folder.h"
#include "mos/base/log.h"
#include "mos/base/version.h"
#include "mos/concepts/concept_file.h"
#include "mos/concepts/concept_writer.h"
#include "mos/fuse/fuse_concepts.h"
#include "mos/fuse/sources.h"
#include "mos/nn/compute.h"
#include "mos/session/paint.h"
#include "mos/tune/tune.h"

namespace mos::study {

namespace fs = std::filesystem;
using torch::Tensor;

namespace {

constexpr const char* kConceptFile = "concept.safetensors";

concepts::ConceptDelta concept_in(const fs::path& folder) {
  return concepts::read_concept_file(folder / kConceptFile).delta;
}

Basis basis_with(const diffusion::Model& base, const StudyOptions& options) {
  return {.base_hash = diffusion::model_hash(base),
          .judge_hash = Judge::hash_of(options),
          .settings_hash = settings_hash(base)};
}

/// All networks; without `dtype` each weight keeps its own.
void move(diffusion::Model& model, torch::Device device, std::optional<torch::ScalarType> dtype) {
  for (const auto& [part, config] : model.settings.configs) {
    auto& network = *model.network(part);
    dtype ? network.to(device, *dtype) : network.to(device);
  }
}

}  // namespace

fs::path checkpoint_of(const TuneCell& cell, const fs::path& place) {
  make_folders(place.parent_path());
  const auto stem = place.filename().string() + ".";
  const auto name = stem + digest_of(cell.cell).substr(0, 10) + ".checkpoint";
  for (const auto& entry : entries_of(place.parent_path())) {
    const auto other = entry.filename().string();
    const bool is_old = other.starts_with(stem) && other.ends_with(".checkpoint") && other != name;
    if (is_old) fs::remove(entry);
  }
  return place.parent_path() / name;
}

Workbench::Workbench(const StudyOptions& options, const jobs::JobContext& context)
    : options_(options),
      context_(context),
      // As it is stored: what is merged into it is rounded once, after the sum.
      base_(diffusion::Model::load(options.base, {.dtype = std::nullopt})),
      basis_(basis_with(base_, options)),
      judge_(options) {}

Workbench::~Workbench() = default;

void Workbench::close_session() {
  session_.reset();
  painted_.reset();
  session_model_.clear();
}

void Workbench::tune(const TuneCell& cell, const fs::path& folder, const fs::path& checkpoint) {
  close_session();
  const auto dataset =
      tune::load_dataset(cell.subject->folder, tune::dataset_options(cell.options));
  const auto options = tune::complete_options(cell.options, dataset);
  BorrowedModel borrowed(base_);
  const auto compute = nn::compute_named(options_.device, options.run.dtype);
  move(borrowed.model(), compute.device, compute.dtype);
  tune::TuneHooks hooks{.progress = context_.progress,
                        .cancel = context_.cancel,
                        .checkpoint = checkpoint,
                        .prior_folder = fs::path(options_.out) / "prior",
                        .program_version = version()};
  const auto tuned = [&] { return tune::tune_concept(borrowed.model(), dataset, options, hooks); };
  const auto save = [&](const concepts::ConceptDelta& delta) {
    concepts::save_concept(folder / kConceptFile, delta);
  };
  const bool goes_on = fs::exists(checkpoint);
  try {
    save(tuned());
  } catch (const Error& error) {
    // Begun on another machine, say: nobody could continue it here.
    const bool is_of_checkpoint =
        error.kind() == ErrorKind::kMismatch || error.kind() == ErrorKind::kFormat;
    if (!goes_on || !is_of_checkpoint) throw;
    log::warn(fmt::format("{}; the tuning begins anew", error.what()));
    hooks.fresh = true;
    save(tuned());
  }
}

void Workbench::merge(const MergeCell& cell, const std::vector<fs::path>& tunings,
                      const fs::path& folder) {
  close_session();
  std::vector<std::string> files;
  for (const auto& tuning : tunings) files.push_back((tuning / kConceptFile).string());
  auto sources = fuse::load_sources(files);
  for (std::size_t i = 0; i < sources.size(); ++i) {
    sources[i].name = cell.spec.concepts[i].concept_name;
  }
  BorrowedModel borrowed(base_);
  move(borrowed.model(), nn::compute_named(options_.device, "float32").device, std::nullopt);
  auto result = fuse::fuse_concepts(borrowed.model(), sources, cell.options, context_.progress,
                                    context_.cancel);
  for (const auto& one : result.report.further()) {
    log::warn(fmt::format("{}: {} was taken further from its own model by distillation",
                          cell.cell.name, result.report.concepts[one.concept_number]));
  }
  result.delta.metadata["base_model"] = basis_.base_hash;
  concepts::save_concept(folder / kConceptFile, result.delta);
  write_text_file(folder / "fusion_report.json", json_text(result.report.to_json(), 2) + "\n");
}

session::Session& Workbench::session_of(const PaintCell& cell,
                                        const std::vector<fs::path>& concepts) {
  if (session_ && session_model_ == cell.model) return *session_;
  close_session();
  const auto compute = nn::compute_named(options_.device, options_.dtype);
  const auto& spec = cell.spec.model;
  session::SessionOptions options{.base = options_.base,
                                  .base_hash = basis_.base_hash,
                                  .device = compute.device,
                                  .dtype = compute.dtype,
                                  .compose = spec.compose};
  for (const auto& folder : concepts) {
    options.held.push_back({folder.filename().string(), concept_in(folder), spec.scale});
  }
  painted_ = std::make_unique<BorrowedModel>(base_);
  session_ = session::open_session(painted_->model(), options);
  session_model_ = cell.model;
  return *session_;
}

void Workbench::paint(const PaintCell& cell, const std::vector<fs::path>& concepts,
                      const fs::path& folder) {
  auto& session = session_of(cell, concepts);
  session::check_words(session, cell.spec.scene, /*plain_text=*/false);
  region::SampleOptions sample;
  sample.steps = options_.steps;
  sample.guidance_scale = options_.guidance_scale;
  sample.scheduler = options_.scheduler;
  sample.seed = options_.seed;
  sample.count = options_.pictures;
  sample.sampler = cell.spec.sampler;
  sample.sampler.perturbed_attention = options_.perturbed_attention.value();
  const auto own = region::canvas_of(session.model, sample);
  sample.height = own.height;
  sample.width = own.width * cell.spec.columns;
  std::int64_t number = 0;
  const session::PaintHooks hooks{
      .progress = context_.progress,
      .picture =
          [&](const Tensor& pixels, const session::PictureRecord& record) {
            session::write_picture(folder / fmt::format("{:04}.png", ++number), pixels, record);
          },
      .cancel = context_.cancel};
  constexpr std::int64_t kAtATime = 8;
  session::paint(session, session::record_of(session, cell.spec.scene, sample), {}, kAtATime,
                 hooks);
}

Basis basis_of(const StudyOptions& options) {
  return basis_with(diffusion::Model::load(options.base, {.dtype = std::nullopt}), options);
}

std::string settings_hash(const diffusion::Model& model) {
  Json all = {{"scheduler", model.settings.scheduler_config}};
  for (const auto& [part, config] : model.settings.configs) {
    all["configs"][std::string(folder_of(part))] = config;
  }
  for (const auto& tower : model.towers) {
    auto& files = all["tokenizers"][std::string(folder_of(tower.part))];
    for (const auto& [name, text] : tower.tokenizer.texts()) files[name] = text;
  }
  return digest_of(all);
}

}  // namespace mos::study
