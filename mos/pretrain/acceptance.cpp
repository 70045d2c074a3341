#include "mos/pretrain/acceptance.h"

#include <fmt/core.h>

#include <algorithm>
#include <functional>
#include <optional>

#include "mos/base/describe.h"
#include "mos/base/file.h"
#include "mos/base/random.h"
#include "mos/io/image.h"
#include "mos/pretrain/adapter_effect.h"
#include "mos/pretrain/sampling.h"
#include "mos/pretrain/tower_training.h"
#include "mos/pretrain/unet_training.h"
#include "mos/pretrain/vae_training.h"

namespace mos::pretrain {

using torch::Tensor;
using world::CaptionSpec;
using world::Split;

namespace {

constexpr auto kCompute = torch::kBFloat16;
constexpr std::array<std::int64_t, 4> kTimesteps = {350, 500, 650, 800};
constexpr std::int64_t kBatch = 32;

using Change = std::function<std::optional<CaptionSpec>(const CaptionSpec&)>;

/// A prompt and what should be seen in its picture.
struct Request {
  std::string prompt;
  std::vector<int> classes;
  int place = 0;  ///< Into places().
};

class Examiner {
 public:
  Examiner(const std::filesystem::path& base, const AcceptanceOptions& options,
           const ProgressCallback& progress, const CancelToken* cancel)
      : base_(base),
        options_(options),
        progress_(progress),
        cancel_(cancel),
        data_(base),
        tokenizer_(text::CLIPTokenizer::from_directory(base / "tokenizer")),
        vae_(load_vae(base)),
        towers_(load_towers(base)),
        text_encoder_(load_text_encoder(base, torch::kFloat32)),
        unet_(load_unet(base, kCompute)),
        scheduler_(read_json_file(base / "unet" / "scheduler_config.json")),
        schedule_(diffusion::NoiseSchedule::from_config(scheduler_)) {}

  std::vector<AcceptanceRow> rows() {
    const auto adapters = trained_adapters(base_);
    parts_ += static_cast<std::int64_t>(adapters.size());
    const auto towers = measure_towers(towers_, tokenizer_, data_);
    std::vector<AcceptanceRow> rows = {
        {"VAE: PSNR on held-out pictures (dB)",
         held_out_psnr(vae_, data_, data_.size(Split::kHeldOut)), 28.0},
        {"towers: class of held-out pictures", towers.recognition, 0.95},
        {"towers: own caption against exchanged subject", towers.swapped, 0.95},
        {"towers: own caption against exchanged sides", towers.sides, 0.9}};
    announce("caption swaps");
    rows.push_back({"caption swap: the single subject", prefers_own(swap_of(1)), 0.97});
    rows.push_back({"caption swap: one of two subjects", prefers_own(swap_of(2)), 0.95});
    rows.push_back({"caption swap: left and right", prefers_own(world::swap_sides), 0.9});
    announce("single subjects");
    recognise_singles(rows);
    announce("pairs");
    recognise_pairs(rows);
    for (const auto kind : adapters) rows.push_back(measure_adapter(kind));
    return rows;
  }

  Tensor sheet() const { return io::make_grid(cells_, 16, 2); }

 private:
  void announce(const char* what) {
    if (cancel_ != nullptr) cancel_->check();
    ++parts_done_;
    if (progress_) {
      progress_({.stage = std::string("accept: ") + what,
                 .step = 10 * parts_done_,
                 .total = 10 * parts_,
                 .loss = std::nan(""),
                 .seconds = 0.0});
    }
  }

  /// Exchanges one subject of the pictures that have `count` of them.
  Change swap_of(std::size_t count) {
    return [this, count](const CaptionSpec& spec) -> std::optional<CaptionSpec> {
      if (spec.subjects.size() != count) return std::nullopt;
      const int which = rng_.below(static_cast<int>(count));
      return world::swap_subject(spec, which, other_class(data_.world(), spec, rng_));
    };
  }

  double prefers_own(const Change& change) {
    std::vector<std::int64_t> indices;
    std::vector<std::string> own, changed;
    for (std::int64_t i = 0; i < data_.size(Split::kHeldOut); ++i) {
      if (static_cast<std::int64_t>(indices.size()) == options_.swap_pictures) break;
      const auto spec = data_.layout(Split::kHeldOut, i).caption;
      const auto other = change(spec);
      if (!other) continue;
      indices.push_back(i);
      own.push_back(world::caption_text(data_.world(), spec));
      changed.push_back(world::caption_text(data_.world(), *other));
    }
    if (indices.empty()) return 0.0;
    return (errors(indices, own) < errors(indices, changed))
        .to(torch::kFloat64)
        .mean()
        .item<double>();
  }

  /// Denoising error of each picture with its caption, summed over the timesteps: [B].
  Tensor errors(const std::vector<std::int64_t>& indices,
                const std::vector<std::string>& captions) {
    std::vector<Tensor> parts;
    const auto total = static_cast<std::int64_t>(indices.size());
    for (std::int64_t first = 0; first < total; first += kBatch) {
      const auto count = std::min(kBatch, total - first);
      const auto which = torch::tensor(indices).narrow(0, first, count);
      const auto clean =
          vae_->encode(data_.batch(Split::kHeldOut, which, kCompute)).mean.to(torch::kFloat32);
      const auto context = encode_captions(
          text_encoder_, tokenizer_, {captions.begin() + first, captions.begin() + first + count});
      auto sum = torch::zeros({count});
      for (const auto t : kTimesteps) {
        auto generator = generator_of_step(options_.seed, t, first);
        const auto noise = mos::randn(clean.sizes(), generator);
        const auto timesteps = torch::full({count}, t, torch::kInt64);
        const auto noisy = schedule_.add_noise(clean, noise, timesteps);
        const auto output = unet_->forward(noisy.to(kCompute), timesteps, context);
        const auto target = schedule_.target(clean, noise, timesteps);
        sum += (output.to(torch::kFloat32) - target).square().flatten(1).mean(1);
      }
      parts.push_back(sum);
    }
    return torch::cat(parts);
  }

  /// Phrases of all backgrounds, scenes first.
  std::vector<std::string> places() const {
    std::vector<std::string> result;
    for (const auto& scene : data_.world().scenes) result.push_back(scene.phrase);
    for (const auto& colour : data_.world().colours) {
      result.push_back("on " + world::with_article(colour.name + " background"));
    }
    return result;
  }

  std::string noun(int class_index) const {
    return world::with_article(
        data_.world().classes.at(static_cast<std::size_t>(class_index)).name);
  }

  BaseModel model() { return {unet_, vae_, text_encoder_, tokenizer_, scheduler_}; }

  SampleOptions sample_options() const {
    return {.steps = options_.steps,
            .guidance = options_.guidance,
            .seed = static_cast<std::uint64_t>(options_.seed)};
  }

  Tensor generate(const std::vector<Request>& requests) {
    std::vector<std::string> prompts;
    for (const auto& request : requests) prompts.push_back(request.prompt);
    const auto pictures = sample_pictures(model(), prompts, sample_options());
    for (std::int64_t i = 0; i < pictures.size(0); ++i) cells_.push_back(pictures[i]);
    return to_network(pictures, torch::kFloat32);
  }

  void recognise_singles(std::vector<AcceptanceRow>& rows) {
    const auto all_places = places();
    std::vector<Request> requests;
    const auto classes = static_cast<int>(data_.world().classes.size());
    for (int repeat = 0; repeat < options_.pictures_per_class; ++repeat) {
      for (int c = 0; c < classes; ++c) {
        const auto place = (c + 5 * repeat) % static_cast<int>(all_places.size());
        requests.push_back(
            {"a photo of " + noun(c) + " " + all_places[static_cast<std::size_t>(place)],
             {c},
             place});
      }
    }
    const auto pictures = generate(requests);
    std::vector<std::string> class_captions;
    for (int c = 0; c < classes; ++c) class_captions.push_back("a photo of " + noun(c));
    const auto found = best_caption(towers_, tokenizer_, pictures, class_captions);
    double subjects = 0, scenes = 0;
    for (std::size_t i = 0; i < requests.size(); ++i) {
      const auto row = static_cast<std::int64_t>(i);
      subjects += found[row].item<std::int64_t>() == requests[i].classes[0] ? 1 : 0;
      std::vector<std::string> captions;
      for (const auto& place : all_places) {
        captions.push_back("a photo of " + noun(requests[i].classes[0]) + " " + place);
      }
      const auto best = best_caption(towers_, tokenizer_, pictures.narrow(0, row, 1), captions);
      scenes += best.item<std::int64_t>() == requests[i].place ? 1 : 0;
    }
    const auto total = static_cast<double>(requests.size());
    rows.push_back({"generated: subject recognised", subjects / total, 0.9});
    rows.push_back({"generated: background recognised", scenes / total, 0.95});
  }

  /// Classes that the image tower sees in the left and in the right half of each picture
  /// [B,3,H,W]: int64 [B] twice.
  std::array<Tensor, 2> classes_of_halves(const Tensor& pictures) {
    std::vector<std::string> captions;
    for (int c = 0; c < class_count(); ++c) captions.push_back("a photo of " + noun(c));
    std::array<Tensor, 2> found;
    const auto halves = halves_doubled(pictures);
    for (std::size_t side = 0; side < 2; ++side) {
      found[side] = best_caption(towers_, tokenizer_, halves[side], captions);
    }
    return found;
  }

  struct PairFigures {
    double both = 0.0;      ///< Both subjects are seen, on whichever side.
    double in_order = 0.0;  ///< Both are seen where they should be.
  };

  PairFigures judge_pairs(const Tensor& pictures, const std::vector<std::vector<int>>& wanted) {
    const auto found = classes_of_halves(pictures);
    PairFigures figures;
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      const auto row = static_cast<std::int64_t>(i);
      const std::pair seen(found[0][row].item<std::int64_t>(), found[1][row].item<std::int64_t>());
      const std::pair<std::int64_t, std::int64_t> asked(wanted[i][0], wanted[i][1]);
      const bool in_order = seen == asked;
      figures.in_order += in_order ? 1 : 0;
      figures.both += in_order || seen == std::pair(asked.second, asked.first) ? 1 : 0;
    }
    const auto total = std::max(1.0, static_cast<double>(wanted.size()));
    return {figures.both / total, figures.in_order / total};
  }

  /// What the judge of pairs makes of real pictures.
  PairFigures judge_held_out_pairs() {
    std::vector<std::int64_t> indices;
    std::vector<std::vector<int>> wanted;
    for (std::int64_t i = 0; i < data_.size(Split::kHeldOut); ++i) {
      const auto subjects = data_.layout(Split::kHeldOut, i).caption.subjects;
      if (subjects.size() != 2) continue;
      indices.push_back(i);
      wanted.push_back({subjects[0].class_index, subjects[1].class_index});
    }
    return judge_pairs(data_.batch(Split::kHeldOut, torch::tensor(indices), torch::kFloat32),
                       wanted);
  }

  void recognise_pairs(std::vector<AcceptanceRow>& rows) {
    const auto all_places = places();
    std::vector<Request> requests;
    std::vector<std::vector<int>> wanted;
    for (int i = 0; i < options_.pairs; ++i) {
      const int left = rng_.below(class_count());
      const int right = (left + 1 + rng_.below(class_count() - 1)) % class_count();
      const auto place = i % static_cast<int>(all_places.size());
      requests.push_back({noun(left) + " on the left and " + noun(right) + " on the right " +
                              all_places[static_cast<std::size_t>(place)],
                          {left, right},
                          place});
      wanted.push_back({left, right});
    }
    const auto generated = judge_pairs(generate(requests), wanted);
    rows.push_back({"towers: both of two on held-out pictures", judge_held_out_pairs().both, 0.95});
    rows.push_back({"generated: both of two recognised", generated.both, 0.7});
    rows.push_back({"generated: both, on the right sides", generated.in_order, 0.6});
  }

  /// What is asked of an adapter: a third of what lies between no adapter and the judge's best. The
  /// captions alone place most subjects, and the judge counts every blurred edge.
  AcceptanceRow measure_adapter(ConditionKind kind) {
    announce("adapters");
    const auto effect =
        adapter_effect(model(), load_adapter(base_, kind, kCompute), kind, data_, sample_options());
    io::write_png(adapter_folder(base_, kind) / "effect.png", effect.sheet);
    return {fmt::format("{} adapter: {} ({:.3f} without)", name_of(kind),
                        kind == ConditionKind::kKeypose ? "box overlap" : "edge agreement",
                        effect.without),
            effect.with, effect.without + (effect.drawn - effect.without) / 3.0};
  }

  int class_count() const { return static_cast<int>(data_.world().classes.size()); }

  std::filesystem::path base_;
  AcceptanceOptions options_;
  const ProgressCallback& progress_;
  const CancelToken* cancel_;
  Dataset data_;
  text::CLIPTokenizer tokenizer_;
  nn::AutoencoderKL vae_;
  nn::CLIPModel towers_;
  nn::CLIPTextModel text_encoder_;
  nn::UNet2DConditionModel unet_;
  Json scheduler_;
  diffusion::NoiseSchedule schedule_;
  world::Rng rng_{1};
  std::vector<Tensor> cells_;
  std::int64_t parts_ = 3;
  std::int64_t parts_done_ = 0;
};

}  // namespace

std::vector<AcceptanceRow> accept(const std::filesystem::path& base,
                                  const AcceptanceOptions& options,
                                  const ProgressCallback& progress, const CancelToken* cancel) {
  const torch::NoGradGuard no_grad;
  Examiner examiner(base, options, progress, cancel);
  auto rows = examiner.rows();
  Json figures = Json::array();
  for (const auto& row : rows) {
    figures.push_back({{"name", row.name},
                       {"value", row.value},
                       {"wanted", row.wanted},
                       {"passed", row.passed()}});
  }
  const Json report = {{"unet_steps", checkpoint_step(base / "unet")},
                       {"options", write_options(options)},
                       {"figures", figures}};
  write_text_file(base / "acceptance.json", report.dump(2) + "\n");
  io::write_png(base / "acceptance.png", examiner.sheet());
  return rows;
}

std::string acceptance_table(const std::vector<AcceptanceRow>& rows) {
  std::string text;
  for (const auto& row : rows) {
    text += fmt::format("{:<48} {:>8.3f}   wanted > {:<6.3g} {}\n", row.name, row.value, row.wanted,
                        row.passed() ? "ok" : "no");
  }
  return text;
}

}  // namespace mos::pretrain
