#include <fmt/core.h>
#include <fmt/ranges.h>

#include <array>

#include "mos/base/error.h"
#include "mos/base/json.h"
#include "mos/base/text_distance.h"
#include "mos/checkpoint/parts.h"
#include "mos/tune/plan.h"

namespace mos::tune {

// Each in a file of methods/.
void set_cones(TuneOptions& options);
void set_custom_diffusion(TuneOptions& options);
void set_dreambooth(TuneOptions& options);
void set_ed_lora(TuneOptions& options);
void set_ed_lora_paper(TuneOptions& options);
void set_lora(TuneOptions& options);
void set_orthogonal_adaptation(TuneOptions& options);
void set_p_plus(TuneOptions& options);
void set_svdiff(TuneOptions& options);
void set_textual_inversion(TuneOptions& options);

namespace {

constexpr const char* kDefaultMethod = "ed_lora";

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
    {"custom_diffusion", "one word before the class word, K and V of cross-attention, prior",
     "Custom Diffusion, arXiv 2212.04488", set_custom_diffusion},
    {"dreambooth", "a rare plain word, all weights of the U-Net, prior",
     "DreamBooth, arXiv 2208.12242", set_dreambooth},
    {"svdiff", "a rare plain word, the singular values of all weights, prior",
     "SVDiff, arXiv 2303.11305", set_svdiff},
    {"cones", "a rare plain word, entries of K and V that become 0, prior",
     "Cones, arXiv 2303.05125", set_cones},
    {"orthogonal_adaptation", "as ed_lora_paper, down fixed to rows of a basis all concepts share",
     "Orthogonal Adaptation, arXiv 2312.02432", set_orthogonal_adaptation},
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
  const auto path = base / checkpoint::kTuneDefaultsFile;
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
