#include "mos/demo/demo.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "mos/base/describe.h"
#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/base/log.h"
#include "mos/base/outputs.h"
#include "mos/base/text.h"
#include "mos/concepts/concept_writer.h"
#include "mos/demo/painter.h"
#include "mos/eval/clip_score.h"
#include "mos/fuse/fuse_concepts.h"
#include "mos/io/image.h"
#include "mos/nn/compute.h"
#include "mos/tune/plan.h"
#include "mos/tune/tune.h"

namespace mos::demo {

namespace fs = std::filesystem;
using torch::Tensor;

namespace {

constexpr std::int64_t kSceneColumns = 2;

struct TunedConcept {
  std::string name;
  std::string class_word;
  concepts::ConceptDelta delta;
  Tensor own_pictures;  ///< uint8 [n,H,W,3]
  Tensor references;    ///< [n,D]
};

/// The parts that every stage needs.
struct Workshop {
  const DemoOptions& options;
  const ProgressCallback& progress;
  const CancelToken* cancel;
  torch::ScalarType dtype;
  eval::ClipScorer scorer;
  std::map<std::string, double> seconds;

  template <class Work>
  auto timed(const std::string& stage, Work work) {
    const auto start = std::chrono::steady_clock::now();
    auto result = work();
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
    seconds[stage] += spent.count();
    return result;
  }
};

session::Session make_painter(const Workshop& shop, const concepts::ConceptDelta* delta) {
  return open_painter(shop.options.base, shop.dtype, delta);
}

region::SampleOptions sample_options(const DemoOptions& options, std::int64_t count) {
  region::SampleOptions sample;
  sample.steps = options.steps;
  sample.guidance_scale = options.guidance_scale;
  sample.seed = options.seed;
  sample.count = count;
  return sample;
}

Tensor paint(const Workshop& shop, session::Session& painter, const std::string& prompt) {
  return demo::paint(painter, prompt, sample_options(shop.options, shop.options.pictures),
                     shop.cancel);
}

void write_grid(const fs::path& path, const Tensor& pictures, std::int64_t columns) {
  const auto list = pictures.unbind(0);
  io::write_png(path, io::make_grid(list, columns, 4));
}

// ---- Client: one concept from its pictures ----

tune::TuneOptions tune_options(const DemoOptions& options) {
  auto tuning = tune::method_options("", options.base);
  if (options.tune_steps > 0) tuning.optimiser.steps = options.tune_steps;
  tuning.run.seed = options.seed;
  tuning.run.preview_pictures = 0;  // the demo paints its own
  return tuning;
}

TunedConcept tune_one(Workshop& shop, const std::string& name,
                      const tune::ConceptDataset& dataset) {
  const auto options = tune::complete_options(tune_options(shop.options), dataset);
  const auto base =
      diffusion::Model::load(shop.options.base, {.dtype = nn::dtype_named(options.run.dtype)});
  tune::TuneHooks hooks;
  hooks.cancel = shop.cancel;
  hooks.progress = [&](Progress report) {
    report.stage = "tuning " + name;
    shop.progress(report);
  };
  TunedConcept tuned{name, options.words.class_word, {}, {}, {}};
  tuned.delta =
      shop.timed("tune", [&] { return tune::tune_concept(base, dataset, options, hooks); });
  concepts::save_concept(fs::path(shop.options.out) / (name + ".safetensors"), tuned.delta);

  std::vector<Tensor> pictures;
  for (const auto& picture : dataset.pictures) pictures.push_back(picture.pixels);
  tuned.own_pictures = torch::stack(pictures);
  tuned.references = shop.scorer.image_embeds(tuned.own_pictures);
  return tuned;
}

// ---- Centre: all concepts in one model ----

concepts::ConceptDelta fuse_all(Workshop& shop, const std::vector<TunedConcept>& tuned,
                                const std::string& method) {
  auto model = diffusion::Model::load(shop.options.base);
  std::vector<fuse::ConceptSource> sources;
  for (const auto& one : tuned) sources.push_back({.name = one.name, .delta = one.delta});
  fuse::FuseOptions options;
  options.method = method;
  options.record.seed = shop.options.seed;
  auto result = shop.timed("fuse " + method, [&] {
    return fuse::fuse_concepts(model, sources, options, shop.progress, shop.cancel);
  });
  const auto out = fs::path(shop.options.out);
  concepts::save_concept(out / ("fused-" + method + ".safetensors"), result.delta);
  write_text_file(out / ("fusion_report-" + method + ".json"),
                  result.report.to_json().dump(2) + "\n");
  return std::move(result.delta);
}

// ---- Everyone: the scene ----

/// The scene with `{name}` replaced by what `text_of` says of that concept.
template <class TextOf>
region::Scene scene_for(const region::Scene& scene, const std::vector<TunedConcept>& tuned,
                        TextOf text_of) {
  auto filled = scene;
  for (const auto& one : tuned) {
    const auto place = "{" + one.name + "}";
    filled.prompt = replaced(filled.prompt, place, text_of(one));
    for (auto& region : filled.regions) {
      region.prompt = replaced(region.prompt, place, text_of(one));
    }
  }
  return filled;
}

/// Which of the concepts each region shows: the first whose place stands in its prompt.
std::vector<std::size_t> concepts_of_regions(const region::Scene& scene,
                                             const std::vector<std::string>& names) {
  std::vector<std::size_t> owners;
  for (const auto& region : scene.regions) {
    const auto owner = std::find_if(names.begin(), names.end(), [&](const std::string& name) {
      return region.prompt.find("{" + name + "}") != std::string::npos;
    });
    if (owner == names.end()) {
      throw Error(ErrorKind::kUsage, fmt::format("region \"{}\" of the scene shows none of the "
                                                 "concepts that are tuned; write {{name}}",
                                                 region.prompt));
    }
    owners.push_back(static_cast<std::size_t>(owner - names.begin()));
  }
  return owners;
}

region::SampleOptions scene_options(const DemoOptions& options, const region::Scene& scene) {
  auto sample = sample_options(options, options.scenes);
  if (scene.canvas) {
    sample.height = scene.canvas->height;
    sample.width = scene.canvas->width;
  }
  return sample;
}

/// The adapters of the scene with their pictures, for every model of the base's architecture.
region::PaintInputs load_conditions(const Workshop& shop, const session::Session& base,
                                    const region::Scene& scene) {
  const auto canvas = region::canvas_of(base.model, scene_options(shop.options, scene));
  region::PaintInputs inputs;
  for (const auto& condition : scene.conditions) {
    inputs.conditions.push_back(region::load_condition(condition, base.model, canvas));
  }
  return inputs;
}

Tensor paint_scene(const Workshop& shop, session::Session& painter, const region::Scene& scene,
                   const region::PaintInputs& inputs) {
  return region::sample_pictures(painter.model, painter.tokens, scene,
                                 scene_options(shop.options, scene), inputs, {}, shop.cancel);
}

/// The pixels of `box` in every picture, [n,h,w,3].
Tensor crop(const Tensor& pictures, const region::Box& box) {
  const auto pixels = region::on_features(box, pictures.size(1), pictures.size(2));
  return pictures.slice(1, pixels.top, pixels.bottom).slice(2, pixels.left, pixels.right);
}

std::vector<double> margins(Workshop& shop, const Tensor& pictures, const region::Scene& scene,
                            const std::vector<TunedConcept>& tuned,
                            const std::vector<std::size_t>& owners) {
  std::vector<Tensor> references;
  for (const auto& one : tuned) references.push_back(one.references);
  std::vector<double> result;
  for (std::size_t r = 0; r < scene.regions.size(); ++r) {
    const auto crops = shop.scorer.image_embeds(crop(pictures, scene.regions[r].box).contiguous());
    result.push_back(eval::bleeding_margin(crops, owners[r], references));
  }
  return result;
}

/// Paints "a photo of a" `text`, keeps the pictures as `kind`, and measures them against the
/// concept's own.
double alignment(Workshop& shop, session::Session& painter, const TunedConcept& tuned,
                 const std::string& text, const std::string& kind) {
  const auto pictures =
      shop.timed("paint", [&] { return paint(shop, painter, "a photo of a " + text); });
  write_grid(fs::path(shop.options.out) / fmt::format("{}-{}.png", tuned.name, kind), pictures,
             pictures.size(0));
  return eval::image_alignment(shop.scorer.image_embeds(pictures), tuned.references).all_pairs;
}

constexpr const char* kReportFile = "report.json";
constexpr const char* kSceneFile = "scene.json";

void write_report(const fs::path& out, const DemoReport& report) {
  write_text_file(out / kReportFile, report.to_json().dump(2) + "\n");
}

bool is_report(const fs::path& path) {
  const auto json = read_json_file(path);
  return json.contains("concepts") && json.contains("regions") && json.contains("options");
}

/// The demo goes into a new folder, an empty one, or that of an earlier demo.
void check_place(const DemoOptions& options) {
  const fs::path out = options.out;
  std::error_code code;
  const bool is_used = fs::is_directory(out, code) && !fs::is_empty(out, code);
  if (is_used && !fs::exists(out / kReportFile, code)) {
    throw Error(ErrorKind::kUsage, fmt::format("{} holds something else than a demo; choose "
                                               "another --out",
                                               options.out));
  }
  Outputs outputs;
  outputs.read("--scene", options.scene);
  const FileKind any = {"a scene", [](const fs::path&) { return true; }};
  for (const auto& [name, kind] :
       {std::pair{kReportFile, FileKind{"the report of a demo", is_report}},
        std::pair{kSceneFile, any}}) {
    outputs.write(
        FileOutput{.name = "--out", .path = out / name, .kind = kind, .makes_folder = true});
  }
  outputs.check();
}

}  // namespace

Json DemoReport::to_json() const {
  Json json = {{"concepts", Json::array()}, {"regions", Json::array()}};
  for (const auto& c : concepts) {
    Json alignment = {{"lower", c.lower}, {"single", c.single}};
    for (const auto& [method, value] : c.fused) alignment[method] = value;
    json["concepts"].push_back({{"name", c.name}, {"image_alignment", alignment}});
  }
  for (const auto& r : regions) json["regions"].push_back({{"name", r.name}, {"margin", r.margin}});
  json["seconds"] = seconds;
  json["options"] = options;
  return json;
}

DemoReport run_demo(const DemoOptions& options, const ProgressCallback& progress,
                    const CancelToken* cancel) {
  const fs::path out = options.out;
  const auto template_scene =
      region::scene_from_json(read_json_file(options.scene), options.scene, {1, 1});
  Workshop shop{options,
                progress,
                cancel,
                nn::dtype_named("auto"),
                eval::ClipScorer::load_judge(options.base),
                {}};
  // All that may be wrong with the order is found before the work.
  const auto owners = concepts_of_regions(template_scene, options.names);
  std::vector<tune::ConceptDataset> datasets;
  for (const auto& name : options.names) {
    datasets.push_back(tune::load_dataset(fs::path(options.concepts) / name));
  }
  for (const auto& method : options.methods) fuse::method_info(method);
  check_place(options);
  make_folders(out);
  DemoReport report;
  report.methods = options.methods;
  report.options = write_options(options);
  write_report(out, report);  // so the next demo knows the folder for one, however far this comes

  // What the base model makes of the words alone, before it knows any concept.
  auto base = make_painter(shop, nullptr);
  const auto inputs = load_conditions(shop, base, template_scene);
  io::write_png(out / "base.png",
                paint(shop, base, "a photo of a cat on the beach")[0].contiguous());
  log::info("first picture: " + (out / "base.png").string());

  std::vector<TunedConcept> tuned;
  for (std::size_t i = 0; i < datasets.size(); ++i) {
    const auto& name = options.names[i];
    tuned.push_back(tune_one(shop, name, datasets[i]));
    auto& one = tuned.back();
    write_grid(out / (name + "-own.png"), one.own_pictures, one.own_pictures.size(0));
    auto single = make_painter(shop, &one.delta);
    report.concepts.push_back({.name = name});
    report.concepts.back().single = alignment(shop, single, one, one.delta.phrase(), "single");
    report.concepts.back().lower = alignment(shop, base, one, one.class_word, "lower");
  }

  const auto words = [](const TunedConcept& one) { return one.delta.phrase(); };
  const auto scene = scene_for(template_scene, tuned, words);
  for (const auto owner : owners) report.regions.push_back({.name = tuned[owner].name});
  for (const auto& method : options.methods) {
    const auto delta = fuse_all(shop, tuned, method);
    auto fused = make_painter(shop, &delta);
    for (std::size_t i = 0; i < tuned.size(); ++i) {
      report.concepts[i].fused[method] =
          alignment(shop, fused, tuned[i], tuned[i].delta.phrase(), method);
    }
    const auto pictures =
        shop.timed("paint", [&] { return paint_scene(shop, fused, scene, inputs); });
    write_grid(out / ("scene-" + method + ".png"), pictures, kSceneColumns);
    const auto of_regions = margins(shop, pictures, scene, tuned, owners);
    for (std::size_t r = 0; r < of_regions.size(); ++r) {
      report.regions[r].margin[method] = of_regions[r];
    }
  }
  report.seconds = shop.seconds;
  write_text_file(out / kSceneFile, region::scene_to_json(scene).dump(2) + "\n");
  write_report(out, report);
  write_text_file(out / "index.html", report_page(report));
  return report;
}

}  // namespace mos::demo
