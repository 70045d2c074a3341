#include "mos/pretrain/tower_training.h"

#include <algorithm>
#include <memory>

#include "mos/base/device.h"
#include "mos/base/file.h"
#include "mos/base/random.h"
#include "mos/io/safetensors.h"
#include "mos/pretrain/compute.h"
#include "mos/pretrain/initialise.h"
#include "mos/pretrain/judge.h"
#include "mos/pretrain/stage.h"
#include "mos/pretrain/tower_views.h"

namespace mos::pretrain {

using torch::Tensor;
using world::CaptionSpec;
using world::Split;

namespace {

constexpr double kMaxScale = 100.0;  // CLIP's bound on the inverse temperature
constexpr std::int64_t kRetrievalAmong = 256;
constexpr std::int64_t kTowerBatch = 64;         // for measurements
constexpr std::int64_t kMeasuredByTowers = 512;  // held-out pictures for figures of the towers
constexpr std::int64_t kJudged = 600;            // and for each of the judge's
constexpr double kSwapSides = 0.6;               // of the wrong captions where sides are named
constexpr double kSwapStyle = 0.4;               // of the others where a style is named
constexpr std::uint64_t kJudgesPictures = 1ULL << 40;  // the first of them

struct WrongCaption {
  CaptionSpec spec;
  bool exchanges_sides = false;
};

WrongCaption wrong_caption(const world::World& world, const CaptionSpec& spec, world::Rng& rng) {
  if (rng.chance(kSwapSides)) {
    if (const auto swapped = world::swap_sides(spec)) return {*swapped, true};
  }
  if (rng.chance(kSwapStyle)) {
    const auto styles = static_cast<int>(world.styles.size());
    if (const auto swapped = world::swap_style(spec, styles)) return {*swapped};
  }
  if (spec.subjects.empty()) {
    auto other = spec;
    const auto count =
        static_cast<int>(spec.background == world::BackgroundKind::kScene ? world.scenes.size()
                                                                          : world.colours.size());
    other.background_index =
        (spec.background_index + 1 + rng.below(std::max(1, count - 1))) % count;
    return {other};
  }
  const int which = rng.below(static_cast<int>(spec.subjects.size()));
  return {world::swap_subject(spec, which, other_class(world, spec, rng))};
}

/// [B,B]: caption j reads like caption i.
Tensor same_words(const std::vector<std::string>& captions) {
  const auto count = static_cast<std::int64_t>(captions.size());
  auto same = torch::zeros({count, count}, torch::kBool);
  auto at = same.accessor<bool, 2>();
  for (std::int64_t i = 0; i < count; ++i) {
    for (std::int64_t j = 0; j < count; ++j) {
      at[i][j] = captions[static_cast<std::size_t>(i)] == captions[static_cast<std::size_t>(j)];
    }
  }
  return same;
}

/// What pictures are told to be: int64 [B], −1 where nothing is to be told.
struct Labels {
  Tensor subject, style, background;
};

Labels labels_of(const world::World& world, const std::vector<CaptionSpec>& specs) {
  std::vector<std::int64_t> subject, style, background;
  for (const auto& spec : specs) {
    const auto count = spec.subjects.size();
    subject.push_back(count == 1 ? spec.subjects[0].class_index : -1);
    style.push_back(count > 0 ? spec.style : -1);
    background.push_back(background_of(world, spec));
  }
  return {torch::tensor(subject), torch::tensor(style), torch::tensor(background)};
}

/// What a step compares.
struct Compared {
  Tensor pictures;     // as draw_views gives them
  Tensor ids;          // [2B,S]: the captions, then the wrong ones
  Tensor same, sides;  // of contrastive_loss
  Labels labels;
};

struct TowerLoss {
  nn::CLIPModel clip;
  const text::CLIPTokenizer& tokenizer;
  const Dataset& data;
  ViewDraw draw;
  Tensor prompts;                                    // ids of subjects, styles, backgrounds
  std::shared_ptr<Ahead<Compared>> ahead = nullptr;  // empty on a CPU

  Compared compare(std::int64_t step) const {
    auto views = draw_views(data, draw, step);
    world::Rng rng(static_cast<std::uint64_t>(draw.seed), Split::kHeldOut,
                   static_cast<std::uint64_t>(step));
    std::vector<std::string> captions, wrong;
    auto sides = torch::zeros({draw.batch}, torch::kBool);
    for (const auto& spec : views.specs) {
      const auto other = wrong_caption(data.world(), spec, rng);
      sides[static_cast<std::int64_t>(captions.size())] = other.exchanges_sides;
      captions.push_back(world::caption_text(data.world(), spec));
      wrong.push_back(world::caption_text(data.world(), other.spec));
    }
    const auto same = same_words(captions);
    captions.insert(captions.end(), wrong.begin(), wrong.end());
    return {views.pictures, token_ids(tokenizer, captions), same, sides,
            labels_of(data.world(), views.specs)};
  }

  Tensor operator()(std::int64_t step) {
    const auto shown = ahead ? ahead->take(step) : compare(step);
    const auto device = device_of(*clip);
    const auto texts = clip->text_embeds(shown.ids.to(device)).to(torch::kFloat32).chunk(2);
    const auto pixels = tower_pictures(shown.pictures.to(device), clip).to(kCompute);
    const auto images = clip->image_embeds(pixels).to(torch::kFloat32);
    const auto scale = clip->logit_scale().clamp_max(kMaxScale);
    return contrastive_loss(images, texts[0], texts[1], shown.same, shown.sides, scale) +
           recognition(images, shown.labels, scale);
  }

  /// The words of single things are learnt by telling each from all others.
  Tensor recognition(const Tensor& images, const Labels& labels, const Tensor& scale) {
    const auto& world = data.world();
    const auto embeds = clip->text_embeds(prompts).to(torch::kFloat32);
    const auto subjects = static_cast<std::int64_t>(world.classes.size());
    const auto styles = static_cast<std::int64_t>(world.styles.size());
    const auto rest = embeds.size(0) - subjects - styles;
    return recognition_loss(images, embeds.narrow(0, 0, subjects), labels.subject, scale) +
           recognition_loss(images, embeds.narrow(0, subjects, styles), labels.style, scale) +
           recognition_loss(images, embeds.narrow(0, subjects + styles, rest), labels.background,
                            scale);
  }
};

Tensor embed_pictures(nn::CLIPModel& clip, const Tensor& pictures) {
  std::vector<Tensor> parts;
  for (const auto& part : pictures.split(kTowerBatch)) {
    const auto pixels = tower_pictures(part.to(device_of(*clip)), clip);
    parts.push_back(clip->image_embeds(pixels).to(torch::kCPU, torch::kFloat32));
  }
  return torch::cat(parts);
}

Tensor embed_texts(nn::CLIPModel& clip, const text::CLIPTokenizer& tokenizer,
                   const std::vector<std::string>& captions) {
  std::vector<Tensor> parts;
  const auto ids = token_ids(tokenizer, captions);
  for (const auto& part : ids.split(2 * kTowerBatch)) {
    parts.push_back(clip->text_embeds(part.to(device_of(*clip))).to(torch::kCPU, torch::kFloat32));
  }
  return torch::cat(parts);
}

double share(const Tensor& right) {
  return right.numel() == 0 ? 0.0 : right.to(torch::kFloat64).mean().item<double>();
}

/// Share of pictures that are nearer to their caption than to the one `change` makes of it;
/// pictures for which it makes none do not count.
double prefers_own(nn::CLIPModel& clip, const text::CLIPTokenizer& tokenizer, const Dataset& data,
                   const Tensor& images,
                   const std::function<std::optional<CaptionSpec>(const CaptionSpec&)>& change) {
  std::vector<std::string> own, changed;
  std::vector<std::int64_t> rows;
  for (std::int64_t i = 0; i < images.size(0); ++i) {
    const auto spec = data.layout(Split::kHeldOut, i).caption;
    const auto other = change(spec);
    if (!other) continue;
    rows.push_back(i);
    own.push_back(world::caption_text(data.world(), spec));
    changed.push_back(world::caption_text(data.world(), *other));
  }
  if (rows.empty()) return 0.0;
  const auto picked = images.index_select(0, torch::tensor(rows));
  const auto right = (picked * embed_texts(clip, tokenizer, own)).sum(1);
  const auto wrong = (picked * embed_texts(clip, tokenizer, changed)).sum(1);
  return share(right > wrong);
}

Tensor prompt_ids(const text::CLIPTokenizer& tokenizer, const world::World& world) {
  auto prompts = subject_prompts(world);
  for (const auto& more : {style_prompts(world), background_prompts(world)}) {
    prompts.insert(prompts.end(), more.begin(), more.end());
  }
  return token_ids(tokenizer, prompts);
}

Json measure(nn::CLIPModel& clip, const text::CLIPTokenizer& tokenizer, const Dataset& data) {
  const auto figures = measure_towers(clip, tokenizer, data);
  Judge judge(clip, tokenizer, data.world());
  const auto judged = measure_judge(judge, data, kJudged);
  return {{"retrieval_256", figures.retrieval},
          {"swapped_subject", figures.swapped},
          {"swapped_sides", figures.sides},
          {"swapped_style", figures.style},
          {"single", judged.single},
          {"both", judged.both},
          {"three", judged.three},
          {"background", judged.background},
          {"style", judged.style}};
}

}  // namespace

TowerOptions tower_options(TowerRole role) {
  TowerOptions options;
  if (role == TowerRole::kTowers) return options;
  options.train.seed = 20;
  options.train.steps = 1400;
  options.train.learning_rate = 1.2e-3;
  options.hidden = 160;
  options.layers = 5;
  options.heads = 5;
  options.text_hidden = 128;
  options.text_layers = 3;
  options.text_heads = 4;
  options.projection = 96;
  return options;
}

const char* folder_of(TowerRole role) { return role == TowerRole::kTowers ? "towers" : "judge"; }

Json clip_config_json(const TowerOptions& options, const text::CLIPTokenizer& tokenizer) {
  const auto or_image = [](std::int64_t own, std::int64_t image) { return own > 0 ? own : image; };
  const auto tower = [&options](std::int64_t hidden, std::int64_t layers, std::int64_t heads) {
    return Json{{"hidden_size", hidden},
                {"intermediate_size", 4 * hidden},
                {"num_hidden_layers", layers},
                {"num_attention_heads", heads},
                {"hidden_act", "quick_gelu"},
                {"layer_norm_eps", 1e-5},
                {"projection_dim", options.projection}};
  };
  Json text = tower(or_image(options.text_hidden, options.hidden),
                    or_image(options.text_layers, options.layers),
                    or_image(options.text_heads, options.heads));
  text["model_type"] = "clip_text_model";
  text["vocab_size"] = tokenizer.base_vocab_size();
  text["max_position_embeddings"] = tokenizer.model_max_length();
  text["bos_token_id"] = tokenizer.bos_id();
  text["eos_token_id"] = tokenizer.eos_id();
  text["pad_token_id"] = tokenizer.pad_id();
  Json vision = tower(options.hidden, options.layers, options.heads);
  vision["model_type"] = "clip_vision_model";
  vision["num_channels"] = 3;
  vision["image_size"] = options.image_size;
  vision["patch_size"] = options.patch;
  return {{"architectures", Json::array({"CLIPModel"})},
          {"model_type", "clip"},
          {"projection_dim", options.projection},
          {"logit_scale_init_value", 2.6592},
          {"text_config", text},
          {"vision_config", vision}};
}

Tensor token_ids(const text::CLIPTokenizer& tokenizer, const std::vector<std::string>& captions,
                 bool full) {
  const auto count = static_cast<std::int64_t>(captions.size());
  auto ids = torch::empty({count, tokenizer.model_max_length()}, torch::kInt64);
  std::int64_t longest = 2;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto& caption = captions[static_cast<std::size_t>(i)];
    ids[i].copy_(torch::tensor(tokenizer.encode_padded(caption)));
    longest = std::max(longest, static_cast<std::int64_t>(tokenizer.encode(caption).size()));
  }
  return full ? ids : ids.narrow(1, 0, std::min(longest, ids.size(1))).contiguous();
}

Tensor tower_pictures(const Tensor& pictures, const nn::CLIPModel& clip) {
  const auto side = clip->vision_config().image_size;
  auto x = pictures.to(torch::kFloat32).mul(0.5).add(0.5);
  const bool whole = x.size(2) % side == 0 && x.size(2) == x.size(3);
  x = whole ? torch::avg_pool2d(x, x.size(2) / side) : torch::adaptive_avg_pool2d(x, {side, side});
  return nn::normalise_pixels(x);
}

Tensor contrastive_loss(const Tensor& pictures, const Tensor& captions, const Tensor& wrong,
                        const Tensor& same, const Tensor& sides, const Tensor& scale) {
  const auto count = pictures.size(0);
  const auto device = pictures.device();
  const auto target = torch::arange(count, torch::dtype(torch::kInt64).device(device));
  const auto other = same.logical_and(torch::eye(count, torch::kBool).logical_not()).to(device);
  const auto similar = scale * pictures.mm(captions.t());  // [picture, caption]
  const auto logits = similar.masked_fill(other, -1e4);
  const auto extra = scale * (pictures * wrong).sum(1, /*keepdim=*/true);
  const auto to_text = torch::cross_entropy_loss(torch::cat({logits, extra}, 1), target);
  const auto loss = 0.5 * (to_text + torch::cross_entropy_loss(logits.t(), target));
  const auto named = sides.to(device, torch::kFloat32);
  const auto confusion = torch::softplus(extra.squeeze(1) - similar.diag()) * named;
  return loss + confusion.sum() / named.sum().clamp_min(1.0);
}

Tensor recognition_loss(const Tensor& pictures, const Tensor& prompts, const Tensor& labels,
                        const Tensor& scale) {
  const auto told = labels.ge(0).nonzero().squeeze(1);
  if (told.size(0) == 0) return torch::zeros({}, pictures.options());
  const auto there = told.to(pictures.device());
  const auto logits = scale * pictures.index_select(0, there).mm(prompts.t());
  return torch::cross_entropy_loss(logits, labels.index_select(0, told).to(pictures.device()));
}

TowerFigures measure_towers(nn::CLIPModel& clip, const text::CLIPTokenizer& tokenizer,
                            const Dataset& data) {
  const torch::NoGradGuard no_grad;
  const auto count = std::min(kMeasuredByTowers, data.size(Split::kHeldOut));
  const auto images =
      embed_pictures(clip, data.batch(Split::kHeldOut, torch::arange(count), torch::kFloat32));
  std::vector<std::string> captions;
  for (std::int64_t i = 0; i < std::min(kRetrievalAmong, count); ++i) {
    captions.push_back(data.caption(Split::kHeldOut, i));
  }
  const auto texts = embed_texts(clip, tokenizer, captions);
  const auto found = images.narrow(0, 0, texts.size(0)).mm(texts.t()).argmax(1);
  std::int64_t right = 0;
  for (std::int64_t i = 0; i < found.size(0); ++i) {
    const auto j = static_cast<std::size_t>(found[i].item<std::int64_t>());
    right += captions[j] == captions[static_cast<std::size_t>(i)] ? 1 : 0;
  }
  world::Rng rng(1);
  const auto exchange = [&](const CaptionSpec& spec) -> std::optional<CaptionSpec> {
    if (spec.subjects.empty()) return std::nullopt;
    const int which = rng.below(static_cast<int>(spec.subjects.size()));
    return world::swap_subject(spec, which, other_class(data.world(), spec, rng));
  };
  const auto other_style = [&](const CaptionSpec& spec) {
    return world::swap_style(spec, static_cast<int>(data.world().styles.size()));
  };
  return {.retrieval = static_cast<double>(right) / static_cast<double>(found.size(0)),
          .swapped = prefers_own(clip, tokenizer, data, images, exchange),
          .sides = prefers_own(clip, tokenizer, data, images, world::swap_sides),
          .style = prefers_own(clip, tokenizer, data, images, other_style)};
}

void train_towers(const std::filesystem::path& base, TowerRole role, const TowerOptions& options,
                  const ProgressCallback& progress, const CancelToken* cancel) {
  const Dataset data(base);
  const auto tokenizer = text::CLIPTokenizer::from_directory(base / "tokenizer");
  const auto folder = base / folder_of(role);
  const auto config = clip_config_json(options, tokenizer);
  nn::CLIPModel clip(nn::CLIPModelImpl::from_json(config));
  auto generator = seeded_generator(static_cast<std::uint64_t>(options.train.seed));
  initialise_clip(*clip, generator);
  const auto device = device_named(options.device);
  clip->to(device);
  nn::use_engine(*clip, nn::Engine::kFused);
  FlatAdamW optimizer(*clip, {.weight_decay = options.train.weight_decay,
                              .average = options.train.average,
                              .working_dtype = kCompute});
  const ViewDraw draw{.batch = options.train.batch,
                      .side = options.image_size,
                      .seed = options.train.seed,
                      .first = role == TowerRole::kJudge ? kJudgesPictures : 0};
  TowerLoss loss{clip, tokenizer, data, draw, prompt_ids(tokenizer, data.world()).to(device)};
  loss.ahead = made_ahead(loss, &TowerLoss::compare, device);
  run_training(optimizer,
               {.stage = folder_of(role),
                .folder = folder,
                .options = options.train,
                .losses = {loss},  // every picture of a batch is compared with every caption
                .measure = [&](std::int64_t) { return measure(clip, tokenizer, data); },
                .progress = progress,
                .cancel = cancel});
  const torch::NoGradGuard no_grad;
  const ScopedAverage averaged(optimizer);
  io::save_safetensors(folder / "model.safetensors", io::state_dict_of(*clip));
  write_json(folder / "config.json", config);
}

nn::CLIPModel load_towers(const std::filesystem::path& base, TowerRole role) {
  const auto folder = base / folder_of(role);
  nn::CLIPModel clip(nn::CLIPModelImpl::from_json(read_json_file(folder / "config.json")));
  const auto path = folder / "model.safetensors";
  io::load_into(*clip, io::load_safetensors(path), {.origin = path.string()});
  return clip;
}

}  // namespace mos::pretrain
