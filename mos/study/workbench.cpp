#include "mos/study/workbench.h"

#include <fmt/core.h>

#include <optional>
#include <span>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/base/folder.h"
#include "mos/base/log.h"
#include "mos/base/version.h"
#include "mos/concepts/concept_file.h"
#include "mos/concepts/concept_writer.h"
#include "mos/fuse/fuse_concepts.h"
#include "mos/fuse/sources.h"
#include "mos/io/image.h"
#include "mos/nn/compute.h"
#include "mos/session/paint.h"
#include "mos/tune/tune.h"

namespace mos::study {

namespace fs = std::filesystem;
using torch::Tensor;

namespace {

constexpr const char* kConceptFile = "concept.safetensors";
constexpr const char* kFiguresFile = "figures.json";

Json list_of(const Tensor& values) {
  Json list = Json::array();
  if (values.dim() > 1) {
    for (const auto& row : values.unbind(0)) list.push_back(list_of(row));
    return list;
  }
  for (std::int64_t i = 0; i < values.size(0); ++i) list.push_back(values[i].item<double>());
  return list;
}

concepts::ConceptDelta concept_in(const fs::path& folder) {
  return concepts::read_concept_file(folder / kConceptFile).delta;
}

/// Whether a network is read from such files; others in its folder say nothing of it.
bool is_of_network(const fs::path& file) {
  const auto ending = file.extension();
  return ending == ".safetensors" || ending == ".bin" || ending == ".json" || ending == ".txt";
}

/// Of all files of a network below `folder` by their names; of "" none.
Json hashes_in(const fs::path& folder) {
  Json hashes = Json::object();
  if (folder.empty()) return hashes;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file() || !is_of_network(entry.path())) continue;
    hashes[fs::relative(entry, folder).generic_string()] = session::file_hash(entry);
  }
  return hashes;
}

/// What judges: its weights by the files that they are in.
std::string hash_of_judge(const StudyOptions& options) {
  const bool is_own = options.clip.empty();  // which brings pictures to its size in another way
  const fs::path clip = is_own ? eval::judge_of(options.base) : fs::path(options.clip);
  return digest_of({{"prefix", options.text_prefix},
                    {is_own ? "judge" : "clip", hashes_in(clip)},
                    {"dino", hashes_in(options.dino)}});
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
      basis_{diffusion::model_hash(base_), hash_of_judge(options)},
      judge_(options.clip.empty() ? eval::ClipScorer::load_judge(options.base)
                                  : eval::ClipScorer::load(options.clip, options.clip)) {
  if (!options.dino.empty()) dino_.emplace(options.dino);
}

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

Workbench::Judged Workbench::judge(const Tensor& pictures) {
  return {judge_.image_embeds(pictures), dino_ ? dino_->image_embeds(pictures) : Tensor()};
}

const Workbench::Judged& Workbench::references_of(const Subject& subject) {
  const auto found = references_.find(subject.name);
  if (found != references_.end()) return found->second;
  std::vector<Tensor> clip, dino;
  for (const auto& picture : own_pictures(subject)) {  // which may differ in size
    const auto seen = judge(picture.unsqueeze(0));
    clip.push_back(seen.clip);
    if (dino_) dino.push_back(seen.dino);
  }
  return references_[subject.name] = {torch::cat(clip), dino_ ? torch::cat(dino) : Tensor()};
}

std::optional<double> Workbench::ceiling(const Subject& subject) {
  const auto& references = references_of(subject).clip;
  if (references.size(0) < 2) return {};
  return eval::leave_one_out_alignment(references);
}

void Workbench::measure(const MeasureCell& cell, const fs::path& painting, const fs::path& folder) {
  std::vector<Tensor> pictures;
  for (const auto& path : pictures_in(painting)) {
    pictures.push_back(io::to_rgb(io::read_image(path).pixels));
  }
  const auto all = torch::stack(pictures);
  Json figures = Json::object();
  if (cell.boxes.empty()) {
    const auto seen = judge(all);
    const auto& own = references_of(*cell.subjects.front());
    const auto alignment = eval::alignment_of_each(seen.clip, own.clip);
    const auto text =
        options_.text_prefix.empty() ? cell.text : options_.text_prefix + " " + cell.text;
    figures["image"] = list_of(alignment.all_pairs);
    figures["first"] = list_of(alignment.first_reference);
    figures["text"] = list_of(eval::text_alignment_of_each(
        seen.clip, judge_.text_embeds(std::span(&text, 1)).squeeze(0)));
    if (dino_) {
      figures["dino"] = list_of(eval::alignment_of_each(seen.dino, own.dino).all_pairs);
    }
  } else {
    std::vector<Tensor> references;
    for (const auto* subject : cell.subjects) references.push_back(references_of(*subject).clip);
    std::vector<Tensor> identities, margins;
    for (std::size_t r = 0; r < cell.boxes.size(); ++r) {
      const auto box = region::on_features(cell.boxes[r], all.size(1), all.size(2));
      const auto crops = judge_.image_embeds(
          all.slice(1, box.top, box.bottom).slice(2, box.left, box.right).contiguous());
      identities.push_back(eval::alignment_of_each(crops, references[r]).all_pairs);
      margins.push_back(eval::margin_of_each(crops, r, references));
    }
    figures["own"] = list_of(torch::stack(identities));
    figures["margin"] = list_of(torch::stack(margins));
  }
  write_text_file(folder / kFiguresFile, json_text(figures) + "\n");
}

Basis basis_of(const StudyOptions& options) {
  const auto model = diffusion::Model::load(options.base, {.dtype = std::nullopt});
  return {diffusion::model_hash(model), hash_of_judge(options)};
}

std::vector<fs::path> pictures_in(const fs::path& painting) {
  std::vector<fs::path> pictures;
  for (const auto& entry : entries_of(painting)) {
    if (entry.extension() == ".png") pictures.push_back(entry);
  }
  return pictures;
}

Figures read_figures(const fs::path& folder) {
  Figures figures;
  const auto json = read_json_file(folder / kFiguresFile);
  for (const auto& [name, list] : json.items()) {
    const bool nested = !list.empty() && list.front().is_array();
    std::vector<double> values;
    for (const auto& entry : list) {
      const auto row = nested ? entry : Json::array({entry});
      for (const auto& value : row) values.push_back(value.get<double>());
    }
    const auto rows = nested ? static_cast<std::int64_t>(list.size()) : 1;
    auto tensor = torch::tensor(values, torch::kFloat64);
    figures.values[name] = nested ? tensor.view({rows, -1}) : tensor;
  }
  return figures;
}

}  // namespace mos::study
