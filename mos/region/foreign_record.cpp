#include "mos/region/foreign_record.h"

#include <fmt/core.h>

#include <algorithm>
#include <set>

#include "mos/base/error.h"
#include "mos/base/text.h"
#include "mos/diffusion/sigma/sigma_grid.h"

namespace mos::region {
namespace {

using Fields = std::vector<std::pair<std::string, std::string>>;

constexpr std::string_view kNegative = "Negative prompt: ";

/// `Key: value, Key: "quoted, value", …` as A1111 writes it.
Fields split_fields(std::string_view line) {
  Fields fields;
  std::size_t at = 0;
  while (at < line.size()) {
    const auto colon = line.find(": ", at);
    if (colon == line.npos) break;
    const auto key = trimmed(std::string(line.substr(at, colon - at)));
    at = colon + 2;
    std::string value;
    if (at < line.size() && line[at] == '"') {
      for (++at; at < line.size() && line[at] != '"'; ++at) {
        if (line[at] == '\\' && at + 1 < line.size()) ++at;
        value += line[at];
      }
      at = std::min(line.find(',', at), line.size());
    } else {
      const auto end = std::min(line.find(',', at), line.size());
      value = trimmed(std::string(line.substr(at, end - at)));
      at = end;
    }
    fields.emplace_back(key, value);
    if (at < line.size()) ++at;
  }
  return fields;
}

template <typename T>
void take_number(const std::string& text, T& field, const std::string& key, ForeignRecord& record) {
  if (const auto value = number_in<T>(text)) {
    field = *value;
  } else {
    record.left_out.push_back(fmt::format("{} is \"{}\", which is no number", key, text));
  }
}

void take_scheduler(const std::string& name, SampleOptions& options, ForeignRecord& record) {
  const auto found = diffusion::find_scheduler(name);
  if (!found) {
    record.left_out.push_back(
        fmt::format("the sampler {} is not here; {} is taken", name, options.scheduler));
    return;
  }
  options.scheduler = found->bh1 || found->heun ? name : std::string(found->entry->name);
  options.sampler.sigmas = *found->entry->method == '\0' ? "" : "automatic";
  if (!found->sigmas.empty()) options.sampler.sigmas = found->sigmas;
}

void take_sigmas(const std::string& name, SampleOptions& options, ForeignRecord& record) {
  const auto found = diffusion::find_scheduler(options.scheduler);
  const bool has_sigmas = found && *found->entry->method != '\0';
  if (name == "Automatic" || !has_sigmas) return;
  const auto grid = diffusion::find_sigma_grid(name);
  if (grid.empty()) {
    record.left_out.push_back(fmt::format("the schedule {} is not here", name));
  } else {
    options.sampler.sigmas = grid;
  }
}

void take_size(const std::string& text, ForeignRecord& record) {
  const auto cross = text.find('x');
  if (cross == text.npos) {
    record.left_out.push_back(fmt::format("Size is \"{}\"", text));
    return;
  }
  take_number(text.substr(0, cross), record.options.width, "Size", record);
  take_number(text.substr(cross + 1), record.options.height, "Size", record);
}

void take_field(const std::string& key, const std::string& value, ForeignRecord& record) {
  auto& options = record.options;
  static const std::set<std::string> says_nothing = {"Version",     "Model hash", "VAE", "VAE hash",
                                                     "Lora hashes", "TI hashes",  "RNG"};
  if (key == "Steps") return take_number(value, options.steps, key, record);
  if (key == "CFG scale") return take_number(value, options.guidance_scale, key, record);
  if (key == "Seed") return take_number(value, options.seed, key, record);
  if (key == "Clip skip") return take_number(value, options.sampler.clip_skip, key, record);
  if (key == "Sampler") return take_scheduler(value, options, record);
  if (key == "Schedule type") return take_sigmas(value, options, record);
  if (key == "Size") return take_size(value, record);
  if (key == "Model") {
    record.model = value;
    return;
  }
  if (key == "Hires upscale") return take_number(value, options.pictures.hires, key, record);
  if (key == "Denoising strength") {
    return take_number(value, options.pictures.hires_strength, key, record);
  }
  if (!says_nothing.contains(key)) {
    record.left_out.push_back(fmt::format("{}: {}", key, value));
  }
}

/// The node that an input of `node` is linked to, or nothing.
const Json* linked(const Json& graph, const Json& node, const char* input) {
  const auto inputs = node.find("inputs");
  if (inputs == node.end() || !inputs->is_object()) return nullptr;
  const auto link = inputs->find(input);
  if (link == inputs->end() || !link->is_array() || link->empty() || !(*link)[0].is_string()) {
    return nullptr;
  }
  const auto found = graph.find((*link)[0].get<std::string>());
  return found == graph.end() ? nullptr : &*found;
}

std::string class_of(const Json* node) {
  return node == nullptr || !node->is_object() ? ""
                                               : json_value<std::string>(*node, "class_type", "");
}

template <typename T>
T input_of(const Json& node, const char* name, T fallback) {
  const auto inputs = node.find("inputs");
  if (inputs == node.end() || !inputs->is_object()) return fallback;
  const auto found = inputs->find(name);
  T value{};
  return found != inputs->end() && assign_json(*found, value) ? value : fallback;
}

/// Walks from the sampler over LoRA to the checkpoint; each LoRA becomes a tag in the prompt.
void take_model(const Json& graph, const Json& sampler, ForeignRecord& record,
                std::set<const Json*>& used) {
  constexpr int kMostLoras = 64;
  const auto* node = linked(graph, sampler, "model");
  for (int i = 0; i < kMostLoras && class_of(node) == "LoraLoader"; ++i) {
    record.prompt += fmt::format(" <lora:{}:{}>", input_of<std::string>(*node, "lora_name", ""),
                                 input_of(*node, "strength_model", 1.0));
    used.insert(node);
    node = linked(graph, *node, "model");
  }
  if (class_of(node) != "CheckpointLoaderSimple") return;
  record.model = input_of<std::string>(*node, "ckpt_name", "");
  used.insert(node);
}

std::string take_text(const Json& graph, const Json& sampler, const char* input,
                      ForeignRecord& record, std::set<const Json*>& used) {
  const auto* node = linked(graph, sampler, input);
  if (class_of(node) != "CLIPTextEncode") {
    record.left_out.push_back(fmt::format("the {} conditioning is more than one text", input));
    return "";
  }
  used.insert(node);
  return input_of<std::string>(*node, "text", "");
}

}  // namespace

ForeignRecord read_parameters(const std::string& text, const std::string& origin) {
  const auto steps = text.rfind("Steps: ");
  const auto line = steps == text.npos ? text.npos : text.rfind('\n', steps);
  if (steps == text.npos || (line == text.npos && steps != 0)) {
    throw Error(ErrorKind::kFormat,
                origin + " has \"parameters\" without a line that begins with \"Steps: \"");
  }
  const auto words = line == text.npos ? std::string() : text.substr(0, line);
  ForeignRecord record;
  const auto negative = words.rfind("\n" + std::string(kNegative));
  if (words.starts_with(kNegative)) {
    record.negative_prompt = words.substr(kNegative.size());
  } else {
    record.prompt = words.substr(0, negative);
    if (negative != words.npos) {
      record.negative_prompt = words.substr(negative + 1 + kNegative.size());
    }
  }
  record.options.sampler.noise = "a1111";
  record.options.sampler.sigmas = "";
  const auto fields = split_fields(std::string_view(text).substr(steps));
  for (const auto& [key, value] : fields) {
    if (key == "RNG" && value != "GPU") record.options.sampler.noise = "cpu";
    take_field(key, value, record);
  }
  return record;
}

std::string parameters_text(const Scene& scene, const SampleOptions& options, std::uint64_t seed,
                            const std::string& version) {
  const auto found = diffusion::find_scheduler(options.scheduler);
  const std::string label = found && *found->entry->a1111 != '\0' ? found->entry->a1111
                            : options.scheduler.empty()           ? "Automatic"
                                                                  : options.scheduler;
  std::string text = scene.prompt;
  if (!scene.negative_prompt.empty())
    text += fmt::format("\n{}{}", kNegative, scene.negative_prompt);
  text += fmt::format("\nSteps: {}, Sampler: {}", options.steps, label);
  for (const auto& grid : diffusion::sigma_grid_names()) {
    if (options.sampler.sigmas == grid.name) text += fmt::format(", Schedule type: {}", grid.a1111);
  }
  text += fmt::format(", CFG scale: {}, Seed: {}, Size: {}x{}", options.guidance_scale, seed,
                      options.width, options.height);
  if (options.sampler.clip_skip != 1) {
    text += fmt::format(", Clip skip: {}", options.sampler.clip_skip);
  }
  if (options.sampler.noise == "cpu") text += ", RNG: CPU";
  return text + fmt::format(", Version: mos {}", version);
}

ForeignRecord read_comfyui_graph(const std::string& text, const std::string& origin) {
  const auto graph = parse_json(text, origin);
  const Json* sampler = nullptr;
  int samplers = 0;
  if (graph.is_object()) {
    for (const auto& [id, node] : graph.items()) {
      if (class_of(&node) != "KSampler") continue;
      sampler = &node;
      ++samplers;
    }
  }
  if (samplers != 1) {
    throw Error(ErrorKind::kFormat,
                fmt::format("{} is a graph with {} nodes KSampler; only graphs with one are read",
                            origin, samplers));
  }
  ForeignRecord record;
  auto& options = record.options;
  std::set<const Json*> used = {sampler};
  options.seed = input_of<std::uint64_t>(*sampler, "seed", 0);
  options.steps = input_of(*sampler, "steps", options.steps);
  options.guidance_scale = input_of(*sampler, "cfg", options.guidance_scale);
  take_scheduler(input_of<std::string>(*sampler, "sampler_name", "euler"), options, record);
  take_sigmas(input_of<std::string>(*sampler, "scheduler", "normal"), options, record);
  record.prompt = take_text(graph, *sampler, "positive", record, used);
  record.negative_prompt = take_text(graph, *sampler, "negative", record, used);
  take_model(graph, *sampler, record, used);
  const auto* latent = linked(graph, *sampler, "latent_image");
  if (class_of(latent) == "EmptyLatentImage") {
    options.width = input_of(*latent, "width", options.width);
    options.height = input_of(*latent, "height", options.height);
    used.insert(latent);
  }
  static const std::set<std::string> says_nothing = {"VAEDecode", "SaveImage", "PreviewImage"};
  for (const auto& [id, node] : graph.items()) {
    const auto kind = class_of(&node);
    if (!used.contains(&node) && !says_nothing.contains(kind)) {
      record.left_out.push_back(fmt::format("the node {} ({})", id, kind));
    }
  }
  return record;
}

std::optional<ForeignRecord> read_foreign(const std::map<std::string, std::string>& texts,
                                          const std::string& origin) {
  if (const auto found = texts.find("parameters"); found != texts.end()) {
    return read_parameters(found->second, origin);
  }
  if (const auto found = texts.find("prompt"); found != texts.end()) {
    return read_comfyui_graph(found->second, "the graph in " + origin);
  }
  return std::nullopt;
}

}  // namespace mos::region
