// Which settings of `mos fuse` keep most of each concept, by the image tower's eyes:
//
//     fusion_settings BASE PICTURES CONCEPT.safetensors … -- [SETTING.json …]
//
// BASE is a diffusers directory with clip/ beside it, PICTURES a folder with the concepts' own
// pictures in <stem>/images. A setting is the JSON object that `mos fuse --config` takes. Prints a
// row for each: the mean image alignment of every concept over all prompts and pictures, and how
// many concepts keep more than with weight fusion.
#include <fmt/core.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "mos/base/describe.h"
#include "mos/base/error.h"
#include "mos/base/runtime.h"
#include "mos/base/text.h"
#include "mos/concepts/concept_file.h"
#include "mos/demo/painter.h"
#include "mos/eval/clip_score.h"
#include "mos/fuse/fuse_concepts.h"
#include "mos/tune/dataset.h"
#include "mos/tune/tune.h"

namespace {

namespace fs = std::filesystem;
using torch::Tensor;

const std::vector<std::string> kPrompts = {"a photo of a <TOK>", "a <TOK> on the beach",
                                           "a <TOK> in the snow"};
constexpr std::int64_t kPictures = 8;  // for each prompt
constexpr std::int64_t kSteps = 20;
constexpr double kGuidance = 5.0;
constexpr std::uint64_t kSeed = 100;  // not the demo's

struct Subject {
  std::string name, class_word;
  mos::concepts::ConceptDelta delta;
  Tensor references;  // [n,D]
};

struct Study {
  fs::path base;
  torch::ScalarType dtype;
  mos::eval::ClipScorer scorer;
  std::vector<Subject> subjects;
  std::vector<double> of_weight_fusion;

  Subject load(const fs::path& file, const fs::path& pictures) {
    Subject subject{.name = file.stem().string(),
                    .class_word = {},
                    .delta = mos::concepts::load_concept(file),
                    .references = {}};
    const auto dataset = mos::tune::load_dataset(pictures / subject.name);
    subject.class_word = dataset.class_word;
    std::vector<Tensor> own;
    for (const auto& picture : dataset.pictures) own.push_back(picture.pixels);
    subject.references = scorer.image_embeds(torch::stack(own));
    return subject;
  }

  double alignment(mos::demo::Painter& painter, const Subject& subject, const std::string& words) {
    mos::region::SampleOptions options;
    options.steps = kSteps;
    options.guidance_scale = kGuidance;
    options.seed = kSeed;
    options.count = kPictures;
    double sum = 0.0;
    for (const auto& prompt : kPrompts) {
      const auto text = mos::replaced(prompt, mos::concepts::kPlaceholder, words);
      const auto pictures = mos::demo::paint(painter, text, options);
      sum +=
          mos::eval::image_alignment(scorer.image_embeds(pictures), subject.references).all_pairs;
    }
    return sum / static_cast<double>(kPrompts.size());
  }

  void print_row(const std::string& name, const std::vector<double>& values) const {
    double sum = 0.0;
    std::string cells;
    std::size_t better = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      cells += fmt::format(" {:.3f} |", values[i]);
      sum += values[i];
      if (!of_weight_fusion.empty() && values[i] > of_weight_fusion[i]) ++better;
    }
    fmt::print("| {} |{} {:.3f} | {} |\n", name, cells, sum / static_cast<double>(values.size()),
               better);
    std::fflush(stdout);  // a study takes minutes
  }

  std::vector<double> fused(const mos::fuse::FuseOptions& options) {
    auto model = mos::diffusion::StableDiffusion::load(base);
    std::vector<mos::fuse::ConceptSource> sources;
    for (const auto& s : subjects) sources.push_back({.name = s.name, .delta = s.delta});
    const auto result = mos::fuse::fuse_concepts(model, sources, options, {}, nullptr);
    auto painter = mos::demo::load_painter(base, dtype, &result.delta);
    std::vector<double> values;
    for (const auto& s : subjects) values.push_back(alignment(painter, s, s.delta.phrase()));
    return values;
  }

  void run(const std::vector<std::string>& settings) {
    fmt::print("| setting |");
    for (const auto& s : subjects) fmt::print(" {} |", s.name);
    fmt::print(" mean | above weight fusion |\n");
    std::vector<double> lower, single;
    auto plain = mos::demo::load_painter(base, dtype, nullptr);
    for (const auto& s : subjects) {
      lower.push_back(alignment(plain, s, s.class_word));
      auto own = mos::demo::load_painter(base, dtype, &s.delta);
      single.push_back(alignment(own, s, s.delta.phrase()));
    }
    print_row("class word", lower);
    print_row("the concept's own model", single);
    mos::fuse::FuseOptions weight;
    weight.method = "weight";
    of_weight_fusion = fused(weight);
    print_row("weight fusion", of_weight_fusion);
    for (const auto& setting : settings) {
      mos::fuse::FuseOptions options;
      mos::read_options(mos::parse_json(setting, "setting"), "setting", options);
      print_row("`" + setting + "`", fused(options));
    }
  }
};

}  // namespace

int main(int argc, char** argv) try {
  mos::set_up_runtime();
  std::vector<std::string> files, settings;
  bool in_settings = false;
  for (int i = 3; i < argc; ++i) {
    if (std::string_view(argv[i]) == "--") {
      in_settings = true;
    } else {
      (in_settings ? settings : files).emplace_back(argv[i]);
    }
  }
  if (files.size() < 2) {
    throw mos::Error(mos::ErrorKind::kUsage,
                     "usage: fusion_settings BASE PICTURES CONCEPT … -- [SETTING …]");
  }
  const fs::path base = argv[1];
  Study study{base, mos::tune::compute_dtype({}), mos::eval::ClipScorer::load_judge(base), {}, {}};
  for (const auto& file : files) study.subjects.push_back(study.load(file, argv[2]));
  study.run(settings);
  return 0;
} catch (const mos::Error& error) {
  fmt::print(stderr, "fusion_settings: {}\n", error.what());
  return mos::exit_code(error.kind());
}
