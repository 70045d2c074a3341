#include "mos/demo/demo.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "mos/base/describe.h"
#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/base/log.h"
#include "mos/base/outputs.h"
#include "mos/base/stopwatch.h"
#include "mos/base/text.h"
#include "mos/concepts/concept_writer.h"
#include "mos/demo/painter.h"
#include "mos/demo/tuning.h"
#include "mos/eval/clip_score.h"
#include "mos/fuse/fuse_concepts.h"
#include "mos/io/image.h"
#include "mos/nn/compute.h"
#include "mos/session/sample_defaults.h"

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
    const Stopwatch watch;
    auto result = work();
    seconds[stage] += watch.seconds();
    return result;
  }
};

session::Session make_painter(const Workshop& shop, const concepts::ConceptDelta* delta) {
  return open_painter(shop.options.base, shop.dtype, delta);
}

region::SampleOptions sample_options(const DemoOptions& options, std::int64_t count) {
  auto sample = session::sample_defaults(options.base);
  sample.steps = options.steps;
  if (options.guidance_scale > 0.0) {
    sample.sampler.perturbed_attention =
        session::perturbed_attention_at(options.guidance_scale, sample);
    sample.guidance_scale = options.guidance_scale;
  }
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

TunedConcept tune_one(Workshop& shop, const std::string& name,
                      const tune::ConceptDataset& dataset) {
  auto tuning = tune({.base = shop.options.base,
                      .name = name,
                      .out = shop.options.out,
                      .steps = shop.options.tune_steps,
                      .seed = shop.options.seed},
                     dataset, shop.progress, shop.cancel);
  shop.seconds["tune"] += tuning.seconds;
  TunedConcept tuned{name, tuning.class_word, std::move(tuning.delta), {}, {}};
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

namespace {

/// A demo under way: what its stages hand to each other.
class Demo {
 public:
  Demo(const DemoOptions& options, const ProgressCallback& progress, const CancelToken* cancel)
      : options_(options),
        out_(options.out),
        template_(region::scene_from_json(read_json_file(options.scene), options.scene, {1, 1})),
        shop_{options,
              progress,
              cancel,
              nn::dtype_named("auto"),
              eval::ClipScorer::load_judge(options.base),
              {}},
        owners_(concepts_of_regions(template_, options.names)) {
    // All that may be wrong with the order is found before the work.
    for (const auto& name : options.names) {
      datasets_.push_back(tune::load_dataset(fs::path(options.concepts) / name));
    }
    for (const auto& method : options.methods) fuse::method_info(method);
    check_place(options);
  }

  DemoReport run() {
    make_folders(out_);
    report_.methods = options_.methods;
    report_.options = write_options(options_);
    write_report(out_, report_);  // so the next demo knows the folder for one, however far it comes
    // What the base model makes of the words alone, before it knows any concept.
    auto base = make_painter(shop_, nullptr);
    inputs_ = load_conditions(shop_, base, template_);
    io::write_png(out_ / "base.png",
                  paint(shop_, base, "a photo of a cat on the beach")[0].contiguous());
    log::info("first picture: " + (out_ / "base.png").string());
    for (std::size_t i = 0; i < datasets_.size(); ++i) learn(i, base);
    merge();
    report_.seconds = shop_.seconds;
    write_report(out_, report_);
    write_text_file(out_ / "index.html", report_page(report_));
    return report_;
  }

 private:
  /// Concept `i` alone, and what its class word alone makes of it.
  void learn(std::size_t i, session::Session& base) {
    tuned_.push_back(tune_one(shop_, options_.names[i], datasets_[i]));
    const auto& one = tuned_.back();
    write_grid(out_ / (one.name + "-own.png"), one.own_pictures, one.own_pictures.size(0));
    auto single = make_painter(shop_, &one.delta);
    ConceptResult result{.name = one.name};
    result.single = alignment(shop_, single, one, one.delta.phrase(), "single");
    result.lower = alignment(shop_, base, one, one.class_word, "lower");
    report_.concepts.push_back(result);
  }

  void merge() {
    const auto words = [](const TunedConcept& one) { return one.delta.phrase(); };
    const auto scene = scene_for(template_, tuned_, words);
    for (const auto owner : owners_) report_.regions.push_back({.name = tuned_[owner].name});
    for (const auto& method : options_.methods) merge_by(method, scene);
    write_text_file(out_ / kSceneFile, region::scene_to_json(scene).dump(2) + "\n");
  }

  void merge_by(const std::string& method, const region::Scene& scene) {
    const auto delta = fuse_all(shop_, tuned_, method);
    auto fused = make_painter(shop_, &delta);
    for (std::size_t i = 0; i < tuned_.size(); ++i) {
      report_.concepts[i].fused[method] =
          alignment(shop_, fused, tuned_[i], tuned_[i].delta.phrase(), method);
    }
    const auto pictures =
        shop_.timed("paint", [&] { return paint_scene(shop_, fused, scene, inputs_); });
    write_grid(out_ / ("scene-" + method + ".png"), pictures, kSceneColumns);
    const auto of_regions = margins(shop_, pictures, scene, tuned_, owners_);
    for (std::size_t r = 0; r < of_regions.size(); ++r) {
      report_.regions[r].margin[method] = of_regions[r];
    }
  }

  const DemoOptions& options_;
  fs::path out_;
  region::Scene template_;  ///< With {name} where a concept's words will be.
  Workshop shop_;
  std::vector<std::size_t> owners_;  ///< Which concept each region shows.
  std::vector<tune::ConceptDataset> datasets_;
  region::PaintInputs inputs_;
  std::vector<TunedConcept> tuned_;
  DemoReport report_;
};

}  // namespace

DemoReport run_demo(const DemoOptions& options, const ProgressCallback& progress,
                    const CancelToken* cancel) {
  return Demo(options, progress, cancel).run();
}

}  // namespace mos::demo
