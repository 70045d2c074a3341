#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "mos/base/error.h"
#include "mos/region/foreign_options.h"
#include "mos/text/foreign_prompt.h"

/// Graphs of ComfyUI in API form: nodes by id, each with a class and inputs, which are values or
/// links [id, output].
namespace mos::region {
namespace {

constexpr int kMostNodes = 64;  // of a chain

std::string class_of(const Json* node) {
  return node == nullptr || !node->is_object() ? ""
                                               : json_value<std::string>(*node, "class_type", "");
}

class GraphReader {
 public:
  GraphReader(const Json& graph, const std::string& origin) : graph_(graph), origin_(origin) {}

  ForeignRecord read() {
    const auto& sampler = the_sampler();
    used_.insert(&sampler);
    take_sampler(sampler);
    record_.prompt = take_conditioning(sampler, "positive", /*regions=*/true);
    record_.negative_prompt = take_conditioning(sampler, "negative", /*regions=*/false);
    if (is_weighted_) name_weights(record_);
    take_latent(sampler);
    place_areas();
    take_model(sampler);
    name_the_rest();
    return std::move(record_);
  }

 private:
  /// A text for a part of the canvas, in pixels or fractions.
  struct Area {
    std::string prompt;
    double top, left, height, width, weight;
    bool fractions;
  };

  const Json& the_sampler() const {
    const Json* sampler = nullptr;
    int samplers = 0;
    if (graph_.is_object()) {
      for (const auto& [id, node] : graph_.items()) {
        const auto kind = class_of(&node);
        if (kind != "KSampler" && kind != "KSamplerAdvanced") continue;
        sampler = &node;
        ++samplers;
      }
    }
    if (samplers == 1) return *sampler;
    throw Error(ErrorKind::kFormat,
                fmt::format("{} is a graph with {} nodes KSampler; only graphs with one are read",
                            origin_, samplers));
  }

  const Json* input(const Json& node, const char* name) {
    const auto inputs = node.find("inputs");
    if (inputs == node.end() || !inputs->is_object()) return nullptr;
    const auto found = inputs->find(name);
    if (found == inputs->end()) return nullptr;
    read_.insert(&*found);
    return &*found;
  }

  /// The node that an input is linked to, or nothing.
  const Json* linked(const Json& node, const char* name) {
    const auto* link = input(node, name);
    if (link == nullptr || !link->is_array() || link->empty() || !(*link)[0].is_string()) {
      return nullptr;
    }
    const auto found = graph_.find((*link)[0].get<std::string>());
    return found == graph_.end() ? nullptr : &*found;
  }

  /// A value; one that another node makes is said to be left out.
  template <typename T>
  T value(const Json& node, const char* name, T fallback) {
    const auto* given = input(node, name);
    if (given == nullptr) return fallback;
    T found{};
    if (assign_json(*given, found)) return found;
    leave_out(fmt::format("\"{}\" of {}, which is {}", name, class_of(&node),
                          given->is_array() ? "made by another node" : quoted(*given)));
    return fallback;
  }

  void leave_out(std::string what) { record_.left_out.push_back(std::move(what)); }

  void take_sampler(const Json& sampler) {
    auto& options = record_.options;
    const bool advanced = class_of(&sampler) == "KSamplerAdvanced";
    options.seed = value<std::uint64_t>(sampler, advanced ? "noise_seed" : "seed", 0);
    options.steps = value(sampler, "steps", options.steps);
    options.guidance_scale = value(sampler, "cfg", options.guidance_scale);
    take_scheduler(value<std::string>(sampler, "sampler_name", "euler"), record_);
    take_sigmas(value<std::string>(sampler, "scheduler", "normal"), record_);
    strength_ = value(sampler, "denoise", 1.0);
    if (!advanced) return;
    const auto first = value<std::int64_t>(sampler, "start_at_step", 0);
    const auto last = value<std::int64_t>(sampler, "end_at_step", options.steps);
    if (first > 0 || last < options.steps) {
      leave_out(fmt::format("that it takes steps {} to {} alone", first, last));
    }
  }

  /// A text without areas; `node` as its kind says. Links that go in circles end with the nodes
  /// that are left.
  std::optional<std::string> text_of(const Json* node) {
    if (class_of(node) == "CLIPTextEncode") {
      used_.insert(node);
      take_clip(*node);
      const auto* text = input(*node, "text");
      is_followed_ = is_followed_ || (text != nullptr && text->is_string());
      return in_ours(value<std::string>(*node, "text", ""));
    }
    if (class_of(node) != "ConditioningConcat" || nodes_left_-- <= 0) return std::nullopt;
    used_.insert(node);
    const auto to = text_of(linked(*node, "conditioning_to"));
    if (!to) return std::nullopt;
    const auto from = text_of(linked(*node, "conditioning_from"));
    return from ? std::optional(*to + " BREAK " + *from) : std::nullopt;
  }

  /// A text of theirs as one of ours. Says what has no place in it.
  std::string in_ours(const std::string& text) {
    const auto taken = text::take_embeddings(text);
    for (const auto& name : taken.names) {
      if (embeddings_.insert(name).second) name_embedding(name, record_);
    }
    is_weighted_ = is_weighted_ || text::has_weights(taken.prompt, text::parse_comfyui);
    return text::from_comfyui(taken.prompt);
  }

  /// Of a text's encoder: which layer it reads.
  void take_clip(const Json& text) {
    const auto* node = linked(text, "clip");
    if (class_of(node) != "CLIPSetLastLayer") return;
    used_.insert(node);
    const auto layer = value<std::int64_t>(*node, "stop_at_clip_layer", -1);  // from the end
    take_skipped_layers(layer < 0 ? -(layer + 1) : layer, record_);
  }

  /// The texts for the whole canvas, joined; those of areas become regions.
  std::string take_conditioning(const Json& sampler, const char* name, bool regions) {
    std::vector<const Json*> open = {linked(sampler, name)};
    std::set<const Json*> combined;
    std::string whole;
    int texts = 0;
    is_followed_ = false;
    nodes_left_ = kMostNodes;
    for (; !open.empty() && nodes_left_ > 0; --nodes_left_) {
      const auto* node = open.back();
      open.pop_back();
      const auto kind = class_of(node);
      if (kind == "ConditioningCombine" && combined.insert(node).second) {
        used_.insert(node);
        open.push_back(linked(*node, "conditioning_2"));
        open.push_back(linked(*node, "conditioning_1"));
      } else if (const auto text = text_of(node)) {
        whole += (whole.empty() || text->empty() ? "" : ", ") + *text;
        texts += text->empty() ? 0 : 1;
      } else if (!regions || !take_area(node)) {
        const char* again = combined.contains(node) ? ", which was met before" : "";
        leave_out(fmt::format("of the {} conditioning: {}{}", name, kind.empty() ? "nothing" : kind,
                              again));
      }
    }
    if (!open.empty()) {
      leave_out(fmt::format("of the {} conditioning: what lies beyond {} nodes", name, kMostNodes));
    }
    if (texts > 1) {
      leave_out(
          fmt::format("that the {} conditioning has {} texts, each painted by itself and "
                      "averaged; here they are one text",
                      name, texts));
    }
    if (!is_followed_) {
      leave_out(fmt::format("the {} text, which could not be followed: there is none here", name));
    }
    return whole;
  }

  bool take_area(const Json* node) {
    const auto kind = class_of(node);
    const bool fractions = kind == "ConditioningSetAreaPercentage";
    if (!fractions && kind != "ConditioningSetArea") return false;
    const auto text = text_of(linked(*node, "conditioning"));
    if (!text) return false;
    used_.insert(node);
    areas_.push_back({*text, value(*node, "y", 0.0), value(*node, "x", 0.0),
                      value(*node, "height", 1.0), value(*node, "width", 1.0),
                      value(*node, "strength", 1.0), fractions});
    return true;
  }

  /// Needs the size of the canvas.
  void place_areas() {
    if (areas_.empty()) return;
    const auto height = static_cast<double>(record_.options.height);
    const auto width = static_cast<double>(record_.options.width);
    if (height <= 0 || width <= 0) {
      leave_out("areas of a canvas whose size is not in the graph");
      return;
    }
    auto regions = Json::array();
    for (const auto& area : areas_) {
      const double h = area.fractions ? 1.0 : height, w = area.fractions ? 1.0 : width;
      const auto share = [](double x) { return std::clamp(x, 0.0, 1.0); };
      regions.push_back(
          {{"prompt", area.prompt},
           {"box",
            {share(area.top / h), share(area.left / w), share((area.top + area.height) / h),
             share((area.left + area.width) / w)}},
           {"weight", region_weight(area.weight, area.prompt, record_)}});
    }
    record_.scene["regions"] = regions;
    move_negative_to_root(record_);
  }

  void take_latent(const Json& sampler) {
    const auto* latent = linked(sampler, "latent_image");
    if (class_of(latent) == "EmptyLatentImage") {
      used_.insert(latent);
      record_.options.width = value(*latent, "width", record_.options.width);
      record_.options.height = value(*latent, "height", record_.options.height);
      if (strength_ != 1.0) leave_out(fmt::format("that it takes {} of the noise", strength_));
      return;
    }
    leave_out(
        fmt::format("what it begins with ({}); begin with a picture by --init FILE --strength "
                    "{}",
                    latent == nullptr ? "nothing" : class_of(latent), strength_));
  }

  /// One that stands in the chain again adds to itself.
  void add_lora(const std::string& name, double strength) {
    auto& loras = record_.loras;
    const auto same = std::find_if(loras.begin(), loras.end(),
                                   [&name](const auto& lora) { return lora.name == name; });
    if (same == loras.end()) {
      loras.push_back({name, strength});
    } else {
      same->scale += strength;
    }
  }

  /// Walks over LoRA to the checkpoint.
  void take_model(const Json& sampler) {
    const auto* node = linked(sampler, "model");
    for (int i = 0; i < kMostNodes && class_of(node).starts_with("LoraLoader"); ++i) {
      used_.insert(node);
      const auto name = value<std::string>(*node, "lora_name", "");
      const auto strength = value(*node, "strength_model", 1.0);
      add_lora(name, strength);
      if (const auto of_text = value(*node, "strength_clip", strength); of_text != strength) {
        leave_out(fmt::format("the strength {} of {} in the text encoder; both networks have {}",
                              of_text, name, strength));
      }
      node = linked(*node, "model");
    }
    if (class_of(node) != "CheckpointLoaderSimple") return;
    used_.insert(node);
    record_.model = value<std::string>(*node, "ckpt_name", "");
  }

  void name_the_rest() {
    static const std::set<std::string> says_nothing = {"VAEDecode", "SaveImage", "PreviewImage"};
    for (const auto& [id, node] : graph_.items()) {
      const auto kind = class_of(&node);
      if (used_.contains(&node)) {
        name_unread_inputs(node);
      } else if (!says_nothing.contains(kind)) {
        leave_out(fmt::format("the node {} ({})", id, kind));
      }
    }
  }

  /// Those of a node that is read otherwise. Links lead to nodes, which are named themselves.
  void name_unread_inputs(const Json& node) {
    static const std::map<std::string, Json> usual = {
        {"batch_size", 1}, {"add_noise", "enable"}, {"return_with_leftover_noise", "disable"}};
    const auto inputs = node.find("inputs");
    if (inputs == node.end() || !inputs->is_object()) return;
    for (const auto& [name, value] : inputs->items()) {
      const auto found = usual.find(name);
      const bool is_usual = found != usual.end() && found->second == value;
      if (read_.contains(&value) || value.is_array() || is_usual) continue;
      leave_out(fmt::format("\"{}\" of {}, which is {}", name, class_of(&node), quoted(value)));
    }
  }

  const Json& graph_;
  const std::string& origin_;
  ForeignRecord record_;
  double strength_ = 1.0;
  int nodes_left_ = 0;        ///< Of one conditioning, before it is given up.
  bool is_followed_ = false;  ///< Some text of it was found.
  bool is_weighted_ = false;  ///< Some text has weights.
  std::set<std::string> embeddings_;
  std::set<const Json*> used_;  ///< Nodes.
  std::set<const Json*> read_;  ///< Inputs.
  std::vector<Area> areas_;
};

}  // namespace

ForeignRecord read_comfyui_graph(const std::string& text, const std::string& origin) {
  const auto graph = parse_json(text, origin);
  return GraphReader(graph, origin).read();
}

}  // namespace mos::region
