#include "mos/pretrain/acceptance.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "mos/base/describe.h"
#include "mos/base/device.h"
#include "mos/base/file.h"
#include "mos/io/image.h"
#include "mos/pretrain/adapter_effect.h"
#include "mos/pretrain/caption_swaps.h"
#include "mos/pretrain/compute.h"
#include "mos/pretrain/fidelity.h"
#include "mos/pretrain/judge.h"
#include "mos/pretrain/sampling.h"
#include "mos/pretrain/stage.h"
#include "mos/pretrain/tower_training.h"
#include "mos/pretrain/unet_training.h"
#include "mos/pretrain/vae_training.h"

namespace mos::pretrain {

using torch::Tensor;
using world::CaptionSpec;
using world::Split;

namespace {

constexpr std::int64_t kSheetColumns = 16;
constexpr std::int64_t kOnSheet = 4;  // every fourth picture: all would be megabytes
constexpr std::int64_t kPart = 200;   // pictures painted between two looks at the cancel token

/// What is asked of a base; docs/base.md says where the figures come from.
constexpr double kMostFrechet = 0.5;  // the base before this one, of 32 subjects, had 20.2
constexpr double kLeastSharpness = 0.85, kMostSharpness = 1.15;

/// A prompt and what should be seen in its picture.
struct Request {
  std::string prompt;
  std::vector<std::int64_t> classes;  // from left to right
  std::int64_t background = 0;        // into background_prompts
  std::int64_t style = 0;
};

/// Shares of requests that were met.
struct Met {
  double subjects = 0.0, background = 0.0, style = 0.0;
};

/// What is measured: the checkpoints of `base`, or the base that the options name.
diffusion::Model examined(const std::filesystem::path& base, const AcceptanceOptions& options) {
  const auto device = device_named(options.device);
  if (options.model.empty()) return load_base(base, torch::kFloat32, device);
  auto model = diffusion::Model::load(options.model, {.device = device});
  model.unet->to(kCompute);  // as load_base() gives it
  return model;
}

/// The record of a training is not that of another base which is measured beside it.
std::string name_of_report(const AcceptanceOptions& options) {
  return options.model.empty() ? "acceptance" : "acceptance_of_model";
}

class Examiner {
 public:
  Examiner(const std::filesystem::path& base, const AcceptanceOptions& options,
           const ProgressCallback& progress, const CancelToken* cancel)
      : base_(base),
        options_(options),
        progress_(progress),
        cancel_(cancel),
        data_(base),
        model_(examined(base, options)),
        tokenizer_(text::CLIPTokenizer::from_directory(base / "tokenizer")),
        judge_(load_towers(base, TowerRole::kJudge), tokenizer_, data_.world()) {}

  std::vector<AcceptanceRow> rows() {
    std::vector<AcceptanceRow> rows;
    for (const auto& part : kParts) {
      if (wanted(part.name)) (this->*part.measure)(rows);
    }
    return rows;
  }

  static std::vector<std::string> part_names() {
    std::vector<std::string> names;
    for (const auto& part : kParts) names.emplace_back(part.name);
    return names;
  }

  bool has_painted() const { return !cells_.empty(); }
  Tensor sheet() const { return io::make_grid(cells_, kSheetColumns, 2); }

 private:
  void announce(const std::string& what, std::int64_t done, std::int64_t all) const {
    if (cancel_ != nullptr) cancel_->check();
    if (!progress_) return;
    progress_({.stage = "accept: " + what,
               .step = done,
               .total = all,
               .loss = std::nan(""),
               .seconds = 0.0});
  }

  bool wanted(const std::string& part) const {
    return options_.parts.empty() ||
           std::find(options_.parts.begin(), options_.parts.end(), part) != options_.parts.end();
  }

  void about_the_vae(std::vector<AcceptanceRow>& rows) {
    rows.push_back({"VAE: PSNR on held-out pictures (dB)",
                    held_out_psnr(model_.vae, data_, data_.size(Split::kHeldOut)), 31.0});
  }

  void about_the_judge(std::vector<AcceptanceRow>& rows) {
    announce("the judge", 0, 1);
    const auto figures = measure_judge(judge_, data_, options_.judged);
    rows.push_back({"judge: single subject of held-out pictures", figures.single, 0.98});
    rows.push_back({"judge: both of two", figures.both, 0.97});
    rows.push_back({"judge: all of three", figures.three, 0.95});
    rows.push_back({"judge: background", figures.background, 0.98});
    rows.push_back({"judge: style", figures.style, 0.97});
  }

  /// Exchanges one subject of the pictures that have `count` of them.
  CaptionChange swap_of(std::size_t count) {
    return [this, count](const CaptionSpec& spec) -> std::optional<CaptionSpec> {
      if (spec.subjects.size() != count) return std::nullopt;
      const int which = rng_.below(static_cast<int>(count));
      return world::swap_subject(spec, which, other_class(data_.world(), spec, rng_));
    };
  }

  void about_captions(std::vector<AcceptanceRow>& rows) {
    const auto styles = static_cast<int>(data_.world().styles.size());
    const auto add = [&](const char* name, const CaptionChange& change, double least) {
      announce("caption swaps", 0, 1);
      const SwapOptions swap{.pictures = options_.swap_pictures, .seed = options_.seed};
      rows.push_back({name, prefers_own_caption(model_, data_, change, swap), least});
    };
    add("caption swap: the single subject", swap_of(1), 0.97);
    add("caption swap: one of two subjects", swap_of(2), 0.95);
    add("caption swap: left and right", world::swap_sides, 0.9);
    add(
        "caption swap: style",
        [styles](const CaptionSpec& spec) { return world::swap_style(spec, styles); }, 0.9);
  }

  void about_fidelity(std::vector<AcceptanceRow>& rows) {
    std::vector<std::string> captions;
    const auto count = std::min(options_.pictures, data_.size(Split::kHeldOut));
    for (std::int64_t i = 0; i < count; ++i) captions.push_back(data_.caption(Split::kHeldOut, i));
    if (count < 2) return;
    // From captions of pictures that were never trained on, against these pictures.
    const auto painted = paint(captions, 0);
    const auto drawn = data_.pictures(Split::kHeldOut, torch::arange(count));
    rows.push_back({"painted: Frechet distance to held-out pictures",
                    frechet_distance(judge_.features(painted), judge_.features(drawn)), 0.0,
                    kMostFrechet});
    rows.push_back({"painted: sharpness over that of held-out pictures",
                    laplacian_energy(painted) / laplacian_energy(drawn), kLeastSharpness,
                    kMostSharpness});
  }

  std::string noun(std::int64_t class_index) const {
    return world::with_article(
        data_.world().classes.at(static_cast<std::size_t>(class_index)).name);
  }

  /// "on the beach", by its number among background_prompts.
  std::string place(std::int64_t background) const {
    const auto scenes = static_cast<std::int64_t>(data_.world().scenes.size());
    CaptionSpec spec;
    const bool scene = background < scenes;
    spec.background = scene ? world::BackgroundKind::kScene : world::BackgroundKind::kColour;
    spec.background_index = static_cast<int>(scene ? background : background - scenes);
    return world::background_phrase(data_.world(), spec);
  }

  std::int64_t backgrounds() const {
    return static_cast<std::int64_t>(data_.world().scenes.size() + data_.world().colours.size());
  }

  SampleOptions sample_options(std::size_t canvas) const {
    const auto [height, width] = data_.world().pixels(canvas);
    return {.steps = options_.steps,
            .guidance = options_.guidance,
            .perturbed = options_.perturbed_attention,
            .seed = static_cast<std::uint64_t>(options_.seed),
            .height = height,
            .width = width};
  }

  Tensor paint(const std::vector<std::string>& prompts, std::size_t canvas) {
    std::vector<Tensor> parts;
    auto options = sample_options(canvas);
    const auto all = static_cast<std::int64_t>(prompts.size());
    for (std::int64_t first = 0; first < all; first += kPart) {
      announce("painting", first, all);
      const auto count = std::min(kPart, all - first);
      parts.push_back(sample_pictures(
          model_, {prompts.begin() + first, prompts.begin() + first + count}, options));
      options.seed += 1;  // pictures are numbered anew in each part
    }
    return torch::cat(parts);
  }

  Met judged(const Tensor& pictures, const std::vector<Request>& requests) {
    std::vector<std::int64_t> classes, places, styles;
    for (const auto& request : requests) {
      classes.insert(classes.end(), request.classes.begin(), request.classes.end());
      places.push_back(request.background);
      styles.push_back(request.style);
    }
    const auto rows = static_cast<std::int64_t>(requests.size());
    const auto wanted = torch::tensor(classes).view({rows, -1});
    const auto share = [](const Tensor& right) {
      return right.to(torch::kFloat64).mean().item<double>();
    };
    return {share(judge_.subjects(pictures, wanted.size(1)).eq(wanted).all(1)),
            share(judge_.backgrounds(pictures).eq(torch::tensor(places))),
            share(judge_.styles(pictures).eq(torch::tensor(styles)))};
  }

  Met paint_and_judge(const std::vector<Request>& requests, std::size_t canvas) {
    std::vector<std::string> prompts;
    for (const auto& request : requests) prompts.push_back(request.prompt);
    const auto pictures = paint(prompts, canvas);
    if (canvas == 0) {
      for (const auto& cell : pictures.slice(0, 0, {}, kOnSheet).unbind(0)) cells_.push_back(cell);
    }
    return judged(pictures, requests);
  }

  void about_singles(std::vector<AcceptanceRow>& rows) {
    const auto& world = data_.world();
    std::vector<Request> requests;
    for (std::int64_t repeat = 0; repeat < options_.pictures_per_class; ++repeat) {
      for (std::size_t style = 0; style < world.styles.size(); ++style) {
        for (std::size_t c = 0; c < world.classes.size(); ++c) {
          const auto which = static_cast<std::int64_t>(c), of = static_cast<std::int64_t>(style);
          // Steps that share no factor with most numbers of backgrounds: classes, styles and places
          // are mixed without a draw.
          const auto background = (which + 7 * of + 5 * repeat) % backgrounds();
          requests.push_back({fmt::format("a {} picture of {} {}", world.styles[style].name,
                                          noun(which), place(background)),
                              {which},
                              background,
                              of});
        }
      }
    }
    const auto met = paint_and_judge(requests, 0);
    rows.push_back({"painted: single subject recognised", met.subjects, 0.97});
    rows.push_back({"painted: background recognised", met.background, 0.98});
    rows.push_back({"painted: style recognised", met.style, 0.97});
  }

  /// Requests for `count` different subjects side by side.
  std::vector<Request> several(std::int64_t requests, std::int64_t count) {
    const auto& world = data_.world();
    std::vector<Request> result;
    for (std::int64_t i = 0; i < requests; ++i) {
      CaptionSpec spec;
      for (std::int64_t s = 0; s < count; ++s) {
        spec.subjects.push_back({.class_index = other_class(world, spec, rng_)});
      }
      const auto background = i % backgrounds();
      const auto style = i / backgrounds() % static_cast<std::int64_t>(world.styles.size());
      Request request{"", {}, background, style};
      std::vector<std::string> nouns;
      for (const auto& subject : spec.subjects) {
        request.classes.push_back(subject.class_index);
        nouns.push_back(noun(subject.class_index));
      }
      request.prompt =
          fmt::format("a {} picture of {}", world.styles[static_cast<std::size_t>(style)].name,
                      world::caption_text(spec, nouns, place(background)));
      result.push_back(std::move(request));
    }
    return result;
  }

  void about_several(std::vector<AcceptanceRow>& rows) {
    struct Trial {
      std::int64_t subjects;
      std::size_t canvas;
      std::int64_t requests;
      double least;
    };
    for (const auto& [subjects, canvas, requests, least] :
         {Trial{2, 0, options_.pairs, 0.92}, Trial{2, 2, options_.pairs, 0.92},
          Trial{3, 3, options_.triples, 0.80}}) {
      // A small world has the square canvas alone.
      if (canvas >= data_.canvases() || requests < 1) continue;
      const auto [height, width] = data_.world().pixels(canvas);
      rows.push_back({fmt::format("painted: {} in their places, {}x{}",
                                  subjects == 2 ? "both of two" : "all of three", width, height),
                      paint_and_judge(several(requests, subjects), canvas).subjects, least});
    }
  }

  void about_adapters(std::vector<AcceptanceRow>& rows) {
    if (!options_.model.empty()) return;  // adapters belong to the checkpoints
    for (const auto kind : trained_adapters(base_)) rows.push_back(measure_adapter(kind));
  }

  /// What is asked of an adapter: a third of what lies between no adapter and the judge's best. The
  /// captions alone place most subjects, and the measure counts every blurred edge.
  AcceptanceRow measure_adapter(ConditionKind kind) {
    announce("adapters", 0, 1);
    auto adapter = load_adapter(base_, kind, kCompute);
    adapter->to(device_named(options_.device));
    const auto effect = adapter_effect(model_, adapter, kind, data_, sample_options(0));
    io::write_png(adapter_folder(base_, kind) / "effect.png", effect.sheet);
    return {fmt::format("{} adapter: {} ({:.3f} without)", name_of(kind),
                        kind == ConditionKind::kKeypose ? "box overlap" : "edge agreement",
                        effect.without),
            effect.with, effect.without + (effect.drawn - effect.without) / 3.0};
  }

  struct Part {
    const char* name;
    void (Examiner::*measure)(std::vector<AcceptanceRow>&);
  };
  static const std::array<Part, 7> kParts;  ///< In the order in which they are told.

  std::filesystem::path base_;
  AcceptanceOptions options_;
  const ProgressCallback& progress_;
  const CancelToken* cancel_;
  Dataset data_;
  diffusion::Model model_;
  text::CLIPTokenizer tokenizer_;  // the judge's; another base may have one of its own
  Judge judge_;
  world::Rng rng_{1};
  std::vector<Tensor> cells_;
};

constexpr std::array<Examiner::Part, 7> Examiner::kParts = {
    Part{"vae", &Examiner::about_the_vae},       Part{"judge", &Examiner::about_the_judge},
    Part{"captions", &Examiner::about_captions}, Part{"fidelity", &Examiner::about_fidelity},
    Part{"singles", &Examiner::about_singles},   Part{"several", &Examiner::about_several},
    Part{"adapters", &Examiner::about_adapters},
};

/// What a figure is of, without what its name says of this measurement.
std::string subject_of(const std::string& name) { return name.substr(0, name.find(" (")); }

/// The figures of an earlier report of the same checkpoint that were not measured this time.
Json former_figures(const std::filesystem::path& path, const Json& report) {
  Json kept = Json::array();
  if (!std::filesystem::exists(path)) return kept;
  const auto former = read_json_file(path);
  if (former.value("unet_steps", Json()) != report.value("unet_steps", Json())) return kept;
  for (const auto& figure : former.at("figures")) {
    const auto subject = subject_of(figure.at("name"));
    const auto again = [&](const Json& now) { return subject_of(now.at("name")) == subject; };
    const auto& figures = report.at("figures");
    if (std::none_of(figures.begin(), figures.end(), again)) kept.push_back(figure);
  }
  return kept;
}

}  // namespace

const std::vector<std::string>& acceptance_parts() {
  static const std::vector<std::string> names = Examiner::part_names();
  return names;
}

std::vector<AcceptanceRow> accept(const std::filesystem::path& base,
                                  const AcceptanceOptions& options,
                                  const ProgressCallback& progress, const CancelToken* cancel) {
  const torch::NoGradGuard no_grad;
  Examiner examiner(base, options, progress, cancel);
  auto rows = examiner.rows();
  if (examiner.has_painted()) {
    io::write_png(base / (name_of_report(options) + ".png"), examiner.sheet());
  }
  return rows;
}

void write_acceptance(const std::filesystem::path& base, const AcceptanceOptions& options,
                      const std::vector<AcceptanceRow>& rows) {
  Json figures = Json::array();
  for (const auto& row : rows) {
    figures.push_back({{"name", row.name},
                       {"value", row.value},
                       {"least", row.least},
                       {"most", row.most},
                       {"passed", row.passed()},
                       {"device", options.device}});
  }
  auto used = options;
  // A path of the machine that measured says nothing elsewhere.
  used.model = std::filesystem::path(options.model).filename().string();
  used.concepts = std::filesystem::path(options.concepts).filename().string();
  Json report = {{"options", write_options(used)}, {"figures", figures}};
  if (options.model.empty()) report["unet_steps"] = checkpoint_step(base / "unet");
  const auto path = base / (name_of_report(options) + ".json");
  if (!options.parts.empty()) {
    auto all = former_figures(path, report);
    all.insert(all.end(), figures.begin(), figures.end());
    report["figures"] = all;
  }
  write_json(path, report);
}

namespace {

std::string wanted(const AcceptanceRow& row) {
  const bool below = row.most < kNoBound;
  if (row.least > 0.0 && below) {
    return fmt::format("wanted {:.3g} to {:.3g}", row.least, row.most);
  }
  if (row.least > 0.0) return fmt::format("wanted at least {:.3g}", row.least);
  return below ? fmt::format("wanted at most {:.4g}", row.most) : "";
}

}  // namespace

std::string acceptance_table(const std::vector<AcceptanceRow>& rows) {
  std::string text;
  for (const auto& row : rows) {
    const bool bounded = row.least > 0.0 || row.most < kNoBound;
    text += fmt::format("{:<52} {:>8.3f}   {:<22} {}\n", row.name, row.value, wanted(row),
                        bounded ? (row.passed() ? "ok" : "no") : "");
  }
  return text;
}

}  // namespace mos::pretrain
