#include <fmt/core.h>
#include <fmt/ranges.h>

#include <array>

#include "mos/base/error.h"
#include "mos/base/json.h"
#include "mos/base/text_distance.h"
#include "mos/tune/plan.h"

namespace mos::tune {

namespace {

constexpr const char* kDefaultMethod = "ed_lora";

/// What the authors' research branch has in common for its own method and for its baselines, which
/// all learn from whole pictures: no masks, no attention term, no norm at which words freeze.
/// Source: its options/train, of which the numbers of every row below are.
void set_research_branch(TuneOptions& options) {
  options.weights.where = Selector::kAttention;
  options.weights.rank = 4;
  options.weights.scale = 1.0;
  options.weights.start = DownStart::kGaussian;
  options.loss.mask_loss = false;
  options.loss.attention_weight = 0.0;
  options.loss.noise_offset = 0.0;
  options.optimiser.norm_threshold = 0.0;
  options.optimiser.decay = Decay::kLinear;
  options.optimiser.steps = 500;
  options.optimiser.batch = 2;
  options.optimiser.embedding_rate = 1e-3;
  options.optimiser.text_rate = 1e-5;
  options.optimiser.unet_rate = 1e-4;
}

/// Words alone: the weights stay as they are, and so does a picture at any scale of them.
void set_words_alone(TuneOptions& options) {
  set_research_branch(options);
  options.weights.rank = 0;
  options.run.preview_scales = {1.0};
}

void set_density(TuneOptions& options) {
  options.loss.density_weight = 0.002;
  options.loss.density_bandwidth = 0.5;
}

void set_textual_inversion(TuneOptions& options) {
  set_words_alone(options);
  options.words.rows = WordRows::kShared;
}

void set_p_plus(TuneOptions& options) {
  set_words_alone(options);
  options.words.rows = WordRows::kPerLayer;
  set_density(options);
}

void set_lora(TuneOptions& options) {
  set_research_branch(options);
  options.words.rows = WordRows::kShared;
  options.optimiser.embedding_rate = 5e-4;
}

/// The program's own defaults.
void set_ed_lora(TuneOptions&) {}

void set_ed_lora_paper(TuneOptions& options) {
  set_research_branch(options);
  options.words.rows = WordRows::kPerLayer;
  set_density(options);
  options.weights.kv_drop = 0.2;
  options.loss.noise_offset = 0.01;
  options.optimiser.steps = 1000;
  options.optimiser.batch = 4;
}

constexpr auto kMethods = std::to_array<Method>({
    {"ed_lora", "a row for each layer and word, LoRA on attention, masks and attention term",
     "Mix-of-Show, the authors' main branch", set_ed_lora},
    {"ed_lora_paper", "the same with token density term and K/V drop instead of masks",
     "Mix-of-Show, what the paper's tables were tuned with", set_ed_lora_paper},
    {"lora", "one row for each word, or none, and LoRA on attention",
     "LoRA, arXiv 2106.09685, as the authors ran it", set_lora},
    {"p_plus", "a row for each layer and word, no weights, token density term",
     "P+, arXiv 2303.09522, as the authors ran it", set_p_plus},
    {"textual_inversion", "one row for each word, no weights",
     "Textual Inversion, arXiv 2208.01618, as the authors ran it", set_textual_inversion},
});

}  // namespace

std::span<const Method> methods() { return kMethods; }

std::vector<std::string> method_names() {
  std::vector<std::string> names;
  for (const auto& method : kMethods) names.emplace_back(method.name);
  return names;
}

const Method& method_named(const std::string& name) {
  for (const auto& method : kMethods) {
    if (method.name == name) return method;
  }
  const auto names = method_names();
  throw Error(ErrorKind::kUsage, fmt::format("\"method\" is \"{}\", expected one of {}{}", name,
                                             fmt::join(names, ", "), did_you_mean(name, names)));
}

TuneOptions method_options(const std::string& method, const std::filesystem::path& base) {
  TuneOptions options;
  options.method = kDefaultMethod;
  Json of_methods = Json::object();
  const auto path = base / "tune_defaults.json";
  if (std::filesystem::exists(path)) {
    auto defaults = read_json_file(path);
    of_methods = json_value<Json>(defaults, "methods", Json::object());
    if (defaults.is_object()) defaults.erase("methods");
    read_options(defaults, path.string(), options);
  }
  if (!method.empty()) options.method = method;
  const auto name = options.method;
  method_named(name).set(options);
  for (const auto& [other, values] : of_methods.items()) {
    method_named(other);  // a name that is wrong shows, whichever was asked for
    if (other == name) {
      read_options(values, fmt::format("{}: \"methods\": \"{}\"", path.string(), name), options);
    }
  }
  return options;
}

}  // namespace mos::tune
