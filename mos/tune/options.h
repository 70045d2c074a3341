#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "mos/base/counts.h"
#include "mos/base/describe.h"
#include "mos/base/runtime.h"

/// Every knob of tuning, grouped by what it is about. Defaults are the authors' for Stable
/// Diffusion 1.x; a base model may bring its own in `tune_defaults.json`.
namespace mos::tune {

/// What stands in the text encoder for a concept's word.
enum class WordRows {
  kNone,      ///< The word is plain text; nothing is added to the vocabulary.
  kShared,    ///< One row, the same in the prompt of every cross-attention layer.
  kPerLayer,  ///< One row for each cross-attention layer (P+).
};
constexpr auto choice_names(WordRows) {
  return std::to_array<Named<WordRows>>({{"per_layer", WordRows::kPerLayer},
                                         {"shared", WordRows::kShared},
                                         {"none", WordRows::kNone}});
}

/// How a picture comes onto the canvas; see framing.h.
enum class FramingKind { kCharacter, kObject, kFit, kZoom };
constexpr auto choice_names(FramingKind) {
  return std::to_array<Named<FramingKind>>({{"character", FramingKind::kCharacter},
                                            {"object", FramingKind::kObject},
                                            {"fit", FramingKind::kFit},
                                            {"zoom", FramingKind::kZoom}});
}

/// Sentences around a caption; see captions.h. kAuto: kPhoto around the mere words, kNone around
/// captions that a file gives.
enum class Templates { kAuto, kPhoto, kCharacter, kPainting, kNone };
constexpr auto choice_names(Templates) {
  return std::to_array<Named<Templates>>({{"auto", Templates::kAuto},
                                          {"photo", Templates::kPhoto},
                                          {"character", Templates::kCharacter},
                                          {"painting", Templates::kPainting},
                                          {"none", Templates::kNone}});
}

/// Which lines of a caption file with several are read.
enum class CaptionLines {
  kFirst,  ///< The first that has text (as the authors and kohya).
  kAny,    ///< One is drawn each time (as OneTrainer).
  kAll,    ///< All, as one caption.
};
constexpr auto choice_names(CaptionLines) {
  return std::to_array<Named<CaptionLines>>(
      {{"first", CaptionLines::kFirst}, {"any", CaptionLines::kAny}, {"all", CaptionLines::kAll}});
}

/// The layers of a network whose weights change.
enum class Selector {
  kAttention,     ///< Every projection of attention.
  kTransformers,  ///< Everything linear in transformer blocks and around them.
  kCrossKv,       ///< Keys and values of the U-Net's cross-attention.
  kKv,            ///< Keys and values of all the U-Net's attention.
  kAll,           ///< Every linear layer and convolution.
};
constexpr auto choice_names(Selector) {
  return std::to_array<Named<Selector>>({{"attention", Selector::kAttention},
                                         {"transformers", Selector::kTransformers},
                                         {"cross_kv", Selector::kCrossKv},
                                         {"kv", Selector::kKv},
                                         {"all", Selector::kAll}});
}

/// In which form weights change; see forms/.
enum class WeightForm {
  kLowRank,   ///< W + scale · up · down.
  kFull,      ///< The weight itself, and its bias.
  kSpectral,  ///< U diag(ReLU(σ + δ)) Vᵀ of W = U diag(σ) Vᵀ; δ is trained.
  kNeurons,   ///< (1 + gate) ∘ W; the entries whose gate falls far enough become 0.
};
constexpr auto choice_names(WeightForm) {
  return std::to_array<Named<WeightForm>>({{"low_rank", WeightForm::kLowRank},
                                           {"full", WeightForm::kFull},
                                           {"spectral", WeightForm::kSpectral},
                                           {"neurons", WeightForm::kNeurons}});
}

/// Start values of LoRA's `down`; `up` starts at zero.
enum class DownStart {
  kKaiming,     ///< Uniform in ±1/√I (the authors' main branch, diffusers).
  kGaussian,    ///< N(0, (1/r)²) (the authors' research branch).
  kOrthogonal,  ///< Half of r rows of a basis that all concepts share; stays as it is.
};
constexpr auto choice_names(DownStart) {
  return std::to_array<Named<DownStart>>({{"kaiming", DownStart::kKaiming},
                                          {"gaussian", DownStart::kGaussian},
                                          {"orthogonal", DownStart::kOrthogonal}});
}

/// How parameters follow their gradients.
enum class Rule { kAdamW, kDescent };
constexpr auto choice_names(Rule) {
  return std::to_array<Named<Rule>>({{"adamw", Rule::kAdamW}, {"descent", Rule::kDescent}});
}

/// The learning rates over the run.
enum class Decay { kLinear, kNone };
constexpr auto choice_names(Decay) {
  return std::to_array<Named<Decay>>({{"linear", Decay::kLinear}, {"none", Decay::kNone}});
}

/// The timesteps of a batch.
enum class Timesteps {
  kIndependent,  ///< Each from the whole range (the authors, diffusers).
  /// One of each of as many equal parts of the range as there are pictures: the loss of a batch
  /// varies less, and no timestep is likelier than before.
  kStratified,
};
constexpr auto choice_names(Timesteps) {
  return std::to_array<Named<Timesteps>>(
      {{"independent", Timesteps::kIndependent}, {"stratified", Timesteps::kStratified}});
}

struct WordOptions {
  WordRows rows = WordRows::kPerLayer;
  /// The concept's words, adjective first ("<potter1>", "<potter2>"), or several in an entry (see
  /// separate_words). Empty: from concept.json.
  std::vector<std::string> words;
  /// Start of each word's rows: "<rand-SIGMA>" or a word that is one token of the vocabulary.
  /// Empty: <rand-random_sigma>, and the class word for the last.
  std::vector<std::string> initializers;
  /// σ of random rows where no initializers are given; 0: the authors' 0.013, or 0.017 without a
  /// class word. About the deviation of the vocabulary's own entries.
  double random_sigma = 0.0;
  /// What the concept is an instance of ("man"). Empty: from concept.json.
  std::string class_word;
  /// A rare word of the vocabulary, "sks": all words start from it, and it is what a concept
  /// without rows is called. Empty: none.
  std::string rare_word;
  /// The class word stands behind the concept's words as plain text: "<cat1> cat", "sks cat". Of
  /// words that the data folder names only the first is used then.
  bool class_behind = false;
  /// Of words that the data folder names only the first is used, which starts as the class word:
  /// what has no adjective and subject of its own to tell apart.
  bool single_word = false;
};

struct PictureOptions {
  std::int64_t size = 0;  ///< Side of the canvas in pixels; 0: the base model's.
  FramingKind framing = FramingKind::kCharacter;
  double crop_probability = 0.5;
  double scale_min = 0.75;  ///< Range of the random scale of FramingKind::kObject.
  double scale_max = 1.0;
  double flip_probability = 0.0;  ///< Off: identities are seldom symmetric.
  /// Framings of each picture that are encoded once and reused; 0 encodes afresh at every step.
  std::int64_t variants = 16;
  bool use_masks = true;
};

struct CaptionOptions {
  bool use_captions = true;
  bool shuffle = true;  ///< Shuffle the comma-separated parts behind the first `keep`.
  std::int64_t keep = 1;
  Templates templates = Templates::kAuto;
  double dropout = 0.0;  ///< Part of the captions that become empty.
  CaptionLines lines = CaptionLines::kFirst;
};

struct WeightOptions {
  WeightForm form = WeightForm::kLowRank;
  std::int64_t rank = 4;  ///< Of kLowRank; 0: only the words are tuned (Textual Inversion, P+).
  double scale = 1.0;     ///< The authors' alpha: a plain factor on up · down.
  Selector where = Selector::kAttention;
  DownStart start = DownStart::kKaiming;
  double kv_drop = 0.0;    ///< How often the update of K and V of cross-attention is off.
  double lora_drop = 0.0;  ///< How often all updates are off, in the text encoder too.
  /// Of the basis of DownStart::kOrthogonal: concepts that shall be added must share it.
  std::uint64_t basis_seed = 0;
  /// Of kNeurons: what the sum over the run of weight · gradient reaches where an entry belongs to
  /// the concept.
  double neuron_threshold = 0.028;
};

struct LossOptions {
  bool mask_loss = true;  ///< Weigh the error by the subject mask where there is one.
  double noise_offset = 0.01;
  Timesteps timesteps = Timesteps::kIndependent;
  double attention_weight = 0.01;  ///< Of the attention regularisation; 0: off.
  bool full_identity = false;   ///< The subject's attention shall fill the mask, not only stay in.
  double density_weight = 0.0;  ///< Of the token density term, see token_density.h; 0: off.
  double density_bandwidth = 0.5;
  /// No gradient goes through keys and values of a prompt's first token, which are the same for all
  /// prompts. Not with the attention regularisation.
  bool stop_first_token = false;
};

/// Pictures of the class that tuning shall not change; see prior.h.
struct PriorOptions {
  std::int64_t pictures = 0;  ///< Painted by the base model once; 0: none are used.
  double weight = 1.0;        ///< Of their error beside that of the concept's pictures.
  std::string prompt;         ///< What they show; empty: "a photo of a CLASS".
  std::int64_t steps = 50;    ///< Denoising steps.
  double guidance = 7.5;
};

struct OptimiserOptions {
  std::int64_t steps = 1000;
  std::int64_t batch = 4;
  std::int64_t accumulate = 1;  ///< Batches for each step.
  /// Pictures that one thread computes alone while others compute theirs; 0: the whole batch, every
  /// operation divided among the threads. It changes the time, not the gradient.
  std::int64_t micro_batch = 0;
  double embedding_rate = 1e-3;
  double text_rate = 1e-5;
  double unet_rate = 1e-4;
  Rule rule = Rule::kAdamW;
  Decay decay = Decay::kLinear;
  double weight_decay = 0.01;
  double beta1 = 0.9;
  double beta2 = 0.999;
  /// Mean norm of the concept rows at which they freeze for the rest of the run; 0: never.
  double norm_threshold = 0.55;
};

struct RunOptions {
  std::uint64_t seed = 0;
  std::string dtype = "auto";           ///< auto, float32 or bfloat16: of the frozen networks.
  std::int64_t threads = 0;             ///< Of the CPU; 0: one for each core.
  std::int64_t checkpoint_every = 100;  ///< Steps; 0: only when interrupted.
  std::int64_t preview_every = 0;       ///< Steps; 0: only at the end.
  std::vector<std::string> preview_prompts = {"a photo of a <TOK>"};
  std::vector<double> preview_scales = {0.0, 0.7, 1.0};  ///< LoRA scales; 0 is the embedding alone.
  std::int64_t preview_pictures = 4;                     ///< For each prompt and scale; 0: none.
  std::int64_t preview_steps = 20;
  double preview_guidance = 7.5;
};

struct TuneOptions {
  std::string method = "ed_lora";  ///< Whose options these were; changes nothing by itself.
  WordOptions words;
  PictureOptions pictures;
  CaptionOptions captions;
  WeightOptions weights;
  LossOptions loss;
  PriorOptions prior;
  OptimiserOptions optimiser;
  RunOptions run;
};

/// The words that `entries` name, which blanks and commas separate, and the plus sign of the
/// authors' files between two in angle brackets ("<potter1>+<potter2>", "<rand-0.013>+man").
std::vector<std::string> separate_words(const std::vector<std::string>& entries);

/// Whether weights change at all, beside the words.
bool changes_weights(const WeightOptions& options);

/// The names of the methods, see plan.h.
std::vector<std::string> method_names();

/// Throws mos::Error(kUsage) naming the first option with an impossible value.
void check_options(const TuneOptions& options);

template <class Visitor>
void describe(Visitor& visit, WordOptions& o) {
  visit("rows", o.rows, "of each word: per_layer, shared (one) or none (plain text)");
  visit("words", o.words, "the concept's words, e.g. \"<potter1> <potter2>\"");
  visit("initializers", o.initializers, "start of each word: <rand-0.013> or a word");
  visit("random_sigma", o.random_sigma, "of random rows (0: 0.013 or 0.017)", between(0, 100));
  visit("class_word", o.class_word, "what the concept is one of, e.g. man");
  visit("rare_word", o.rare_word, "where words start, and the name of a concept without rows");
  visit("class_behind", o.class_behind, "the plain class word stands behind the words");
  visit("single_word", o.single_word, "of the words in concept.json the first alone");
}

template <class Visitor>
void describe(Visitor& visit, PictureOptions& o) {
  visit("size", o.size, "canvas side in pixels (0: the base model's)", count_of(0, kLargestSide));
  visit("framing", o.framing, "character, object (random scale), fit (whole) or zoom");
  visit("crop_probability", o.crop_probability, "how often a picture is cropped", between(0, 1));
  visit("scale_min", o.scale_min, "smallest random scale of framing object", between(0.05, 1));
  visit("scale_max", o.scale_max, "largest random scale of framing object", between(0.05, 1));
  visit("flip_probability", o.flip_probability, "how often a picture is mirrored", between(0, 1));
  visit("variants", o.variants, "framings of a picture encoded once (0: no cache)",
        count_of(0, kMostPictures));
  visit("use_masks", o.use_masks, "read the masks of pictures");
}

template <class Visitor>
void describe(Visitor& visit, CaptionOptions& o) {
  visit("use_captions", o.use_captions, "read the captions of pictures");
  visit("shuffle", o.shuffle, "shuffle the comma-separated parts of captions");
  visit("keep", o.keep, "parts at the start of a caption that stay in place", count_of(0, 1000));
  visit("templates", o.templates, "auto, photo, character, painting or none");
  visit("caption_lines", o.lines, "of a caption with several: first, any (drawn) or all");
  visit("caption_dropout", o.dropout, "part of the captions that become empty", between(0, 1));
}

template <class Visitor>
void describe(Visitor& visit, WeightOptions& o) {
  visit("form", o.form, "how weights change: low_rank, full, spectral or neurons");
  visit("rank", o.rank, "LoRA rank (0: tune only the words)", count_of(0, kHighestRank));
  visit("lora_scale", o.scale, "factor on the low-rank update", between(-100, 100));
  visit("where", o.where, "attention, transformers, cross_kv, kv or all");
  visit("lora_start", o.start, "start of LoRA's down: kaiming, gaussian or orthogonal");
  visit("kv_drop", o.kv_drop, "how often the update of cross-attention's K and V is off",
        between(0, 1));
  visit("lora_drop", o.lora_drop, "how often all weights are off for a step: the words learn alone",
        between(0, 1));
  visit("basis_seed", o.basis_seed, "of the basis that orthogonal concepts share");
  visit("neuron_threshold", o.neuron_threshold, "sum of weight x gradient of a neuron",
        between(1e-12, 1e6));
}

template <class Visitor>
void describe(Visitor& visit, LossOptions& o) {
  visit("mask_loss", o.mask_loss, "weigh the error by the subject mask");
  visit("noise_offset", o.noise_offset, "shift of whole channels of the noise", between(0, 10));
  visit("timesteps", o.timesteps,
        "of a batch: independent, or stratified (one from each of as many equal parts)");
  visit("attention_weight", o.attention_weight, "of the attention regularisation (0: off)",
        between(0, 1e6));
  visit("full_identity", o.full_identity, "the subject's attention fills the mask");
  visit("density_weight", o.density_weight, "of the token density term (0: off)", between(0, 1e6));
  visit("density_bandwidth", o.density_bandwidth, "of its kernel", between(0.01, 100));
  visit("stop_first_token", o.stop_first_token, "no gradient through K and V of that token");
}

template <class Visitor>
void describe(Visitor& visit, PriorOptions& o) {
  visit("prior", o.pictures, "class pictures that the base paints beforehand (0: none)",
        between(0, 100000));
  visit("prior_weight", o.weight, "of their error beside that of the concept's pictures",
        between(0, 1e6));
  visit("prior_prompt", o.prompt, "what they show (empty: a photo of a CLASS)");
  visit("prior_steps", o.steps, "denoising steps of class pictures", between(1, 1000));
  visit("prior_guidance", o.guidance, "guidance of class pictures", between(0, 100));
}

template <class Visitor>
void describe(Visitor& visit, OptimiserOptions& o) {
  visit("steps", o.steps, "optimiser steps", count_of(1, kMostSteps));
  visit("batch", o.batch, "pictures in a batch", count_of(1, kMostAtATime));
  visit("accumulate", o.accumulate, "batches for each step", count_of(1, kMostPictures));
  visit("micro_batch", o.micro_batch, "pictures for one thread alone (0: all for all)",
        count_of(0, kMostAtATime));
  visit("embedding_rate", o.embedding_rate, "learning rate of the words", between(0, 1));
  visit("text_rate", o.text_rate, "learning rate of the text encoder's weights", between(0, 1));
  visit("unet_rate", o.unet_rate, "learning rate of the U-Net's weights", between(0, 1));
  visit("rule", o.rule, "adamw, or descent (plain gradients)");
  visit("decay", o.decay, "learning rate over the run: linear (to 0) or none");
  visit("weight_decay", o.weight_decay, "AdamW's", between(0, 1));
  visit("beta1", o.beta1, "AdamW's", between(0, 0.9999));
  visit("beta2", o.beta2, "AdamW's", between(0, 0.999999));
  visit("norm_threshold", o.norm_threshold, "mean norm at which words freeze (0: never)",
        between(0, 1e6));
}

template <class Visitor>
void describe(Visitor& visit, RunOptions& o) {
  visit("seed", o.seed, "of every random draw");
  visit("dtype", o.dtype, "of the frozen networks: auto, float32 or bfloat16",
        one_of({"auto", "float32", "bfloat16"}));
  visit("threads", o.threads, "CPU threads (0: one for each core)", between(0, kMostThreads));
  visit("checkpoint_every", o.checkpoint_every,
        "steps between checkpoints (0: only when it is stopped)", count_of(0, kMostSteps));
  visit("preview_every", o.preview_every, "steps between sample pictures (0: at the end alone)",
        count_of(0, kMostSteps));
  visit("preview_prompts", o.preview_prompts, "prompts; <TOK> stands for the concept");
  visit("preview_scales", o.preview_scales, "LoRA scales of the sample pictures", between(-10, 10));
  visit("preview_pictures", o.preview_pictures,
        "sample pictures for each prompt and scale, of preview_steps steps each (0: none at all)",
        count_of(0, kMostAtATime));
  visit("preview_steps", o.preview_steps, "denoising steps of sample pictures", between(1, 1000));
  visit("preview_guidance", o.preview_guidance, "guidance of sample pictures", between(0, 100));
}

template <class Visitor>
void describe(Visitor& visit, TuneOptions& o) {
  visit("method", o.method, "what is trained and how; sets the options below",
        one_of(method_names()));
  describe(visit, o.words);
  describe(visit, o.pictures);
  describe(visit, o.captions);
  describe(visit, o.weights);
  describe(visit, o.loss);
  describe(visit, o.prior);
  describe(visit, o.optimiser);
  describe(visit, o.run);
}

}  // namespace mos::tune
