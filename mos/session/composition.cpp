#include "mos/session/composition.h"

#include <fmt/core.h>

#include <deque>
#include <map>
#include <utility>

#include "mos/base/error.h"
#include "mos/base/log.h"
#include "mos/base/text.h"
#include "mos/concepts/lora.h"

namespace mos::session {

using checkpoint::Part;
using concepts::LayerUpdates;
using region::Compose;

namespace {

bool has_own_text(Compose compose) { return compose == Compose::kText || compose == Compose::kOwn; }
bool has_own_layers(Compose compose) {
  return compose == Compose::kLayers || compose == Compose::kOwn;
}

/// Fed by the text, so that it can be another one for each text at no cost.
bool is_text_fed(const std::string& layer) {
  return layer.ends_with(".attn2.to_k") || layer.ends_with(".attn2.to_v");
}

}  // namespace

/// Updates in the weights of a model, in the type that these have. The former weights come back at
/// the end, bit for bit.
class Composition::ScopedConcepts {
 public:
  explicit ScopedConcepts(diffusion::Model& model) : model_(model) {}
  ~ScopedConcepts() {
    if (!is_aside_) exchange();
  }
  ScopedConcepts(const ScopedConcepts&) = delete;
  ScopedConcepts& operator=(const ScopedConcepts&) = delete;

  void add(Part part, LayerUpdates updates, const HeldConcept& origin) {
    if (updates.empty()) return;
    updates_.push_back(std::move(updates));
    loras_[part].push_back({&updates_.back(), origin.scale, origin.name});
  }

  void merge() {
    for (const auto& [part, loras] : loras_) {
      auto network = model_.network(part);
      nn::for_each_lora_layer(*network, [this](const std::string&, nn::LoraLayer& layer) {
        // Handles: merging gives a layer another tensor.
        former_.push_back({&layer, layer.weight.detach(),
                           layer.bias.defined() ? layer.bias.detach() : layer.bias});
      });
      concepts::merge_loras(*network, loras, model_.dtype());
    }
  }

  /// Takes them out of the weights, or puts them back.
  void exchange() {
    const auto swap = [](torch::Tensor& here, torch::Tensor& other) {
      if (!other.defined()) return;
      const auto now = here.detach();
      here.set_data(other);
      other = now;
    };
    for (auto& former : former_) {
      swap(former.layer->weight, former.weight);
      swap(former.layer->bias, former.bias);
    }
    is_aside_ = !is_aside_;
  }

 private:
  struct Former {
    nn::LoraLayer* layer;
    torch::Tensor weight, bias;
  };
  diffusion::Model& model_;
  std::deque<LayerUpdates> updates_;  // which loras_ point into
  std::map<Part, std::vector<concepts::ScaledLora>> loras_;
  std::vector<Former> former_;
  bool is_aside_ = false;
};

Composition::Composition(Session& session, const region::Scene& scene,
                         const region::SampleOptions& options)
    : session_(session),
      compose_(options.sampler.compose),
      switch_every_(options.sampler.switch_every) {
  if (compose_ != Compose::kMerged && session.apart.empty() && !session.guests.empty()) {
    throw Error(ErrorKind::kUsage,
                fmt::format("\"compose\" is \"{}\", but this session was opened with its concepts "
                            "merged; open it with the same option",
                            choice_name(compose_)));
  }
  if (takes_turns() && !scene.regions.empty()) {
    throw Error(ErrorKind::kUsage,
                fmt::format("\"compose\" is \"{}\", which is for pictures without regions; take "
                            "\"own\" where each concept has one",
                            choice_name(compose_)));
  }
  const torch::NoGradGuard no_grad;
  place(scene);
  encode(scene, options);
  keep_own();  // before other concepts change the weights: DoRA and the like depend on them
  for (turn_ = 0; compose_ == Compose::kComposite && turn_ < turns_.size(); ++turn_) {
    merge_unet();
    in_unet_->exchange();
    composite_.push_back(std::move(in_unet_));
  }
  turn_ = 0;
  if (composite_.empty()) merge_unet();
}

Composition::~Composition() = default;

bool Composition::takes_turns() const {
  return compose_ == Compose::kSwitch || compose_ == Compose::kComposite;
}

torch::Tensor Composition::mean_of_turns(const diffusion::NetworkCall& call,
                                         const diffusion::Network& network) const {
  torch::Tensor sum;
  for (const auto& concepts : composite_) {
    concepts->exchange();
    const auto said = network(call);
    concepts->exchange();
    sum = sum.defined() ? sum + said : said;
  }
  return sum / static_cast<double>(composite_.size());
}

region::PaintInputs Composition::of_scene(region::PaintInputs inputs) const {
  inputs.texts = texts_;
  inputs.own = own_;
  if (!composite_.empty()) {
    inputs.predict = [this](const diffusion::NetworkCall& call, const diffusion::Network& network) {
      return mean_of_turns(call, network);
    };
  }
  return inputs;
}

void Composition::place(const region::Scene& scene) {
  std::vector<std::string> prompts = {scene.root_prompt + " " + scene.prompt};
  for (const auto& region : scene.regions) {
    // One that reads the context's prompt is of the concepts of its subject alone.
    const bool has_prompt = !trimmed(region.prompt).empty();
    prompts.push_back(has_prompt ? scene.root_prompt + " " + region.prompt : region.subject);
  }
  called_.resize(prompts.size());
  for (std::size_t k = 0; k < session_.apart.size(); ++k) {
    bool in_region = false;
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      if (!calls(session_, session_.guests.at(k), prompts[i])) continue;
      called_[i].insert(k);
      in_region = in_region || i > 0;
    }
    if (in_region) continue;
    const bool in_turn = takes_turns() && called_[0].contains(k);
    if (in_turn) turns_.push_back(k);
    if (!in_turn) everywhere_.insert(k);
    called_[0].erase(k);
  }
}

bool Composition::acts_now(std::size_t k) const {
  return !takes_turns() || everywhere_.contains(k) || turns_.at(turn_) == k;
}

diffusion::StepCallback Composition::with_turns(diffusion::StepCallback on_step) {
  if (turns_.size() < 2 || compose_ != Compose::kSwitch) return on_step;
  take_turn(0);  // a picture begins with the first one
  return [this, on_step](const diffusion::DenoiseStep& step) {
    if (on_step) on_step(step);
    // After the last call the first one's turn comes again: that of the second pass.
    take_turn(step.index + 1 == step.total ? 0 : step.steps_done);
  };
}

void Composition::take_turn(std::int64_t steps_done) {
  const auto next = static_cast<std::size_t>(steps_done / switch_every_) % turns_.size();
  if (next == turn_) return;
  turn_ = next;
  in_unet_.reset();
  merge_unet();
}

Composition::Concepts Composition::heard_by(std::size_t i) const {
  auto concepts = everywhere_;
  for (std::size_t k = 0; k < session_.apart.size(); ++k) {
    if (!has_own_text(compose_) || called_[i].contains(k)) concepts.insert(k);
  }
  return concepts;
}

void Composition::encode(const region::Scene& scene, const region::SampleOptions& options) {
  std::map<Concepts, std::vector<std::size_t>> texts;  // that hear the same ones
  for (std::size_t i = 0; i < called_.size(); ++i) texts[heard_by(i)].push_back(i);
  texts_.regions.resize(scene.regions.size());
  for (const auto& [heard, members] : texts) {
    ScopedConcepts merged(session_.model);
    for (const auto k : heard) {
      const auto& one = session_.apart[k];
      for (const auto& [part, updates] : one.delta.updates) {
        if (part != Part::kUNet) merged.add(part, updates, one);
      }
    }
    merged.merge();
    auto of_them = scene;
    of_them.regions.clear();
    for (const auto i : members) {
      if (i > 0) of_them.regions.push_back(scene.regions[i - 1]);
    }
    auto encoded = region::encode_scene(session_.model, session_.tokens, of_them, options);
    std::size_t next = 0;
    for (const auto i : members) {
      if (i > 0) texts_.regions[i - 1] = std::move(encoded.regions[next++]);
    }
    if (members.front() > 0) continue;
    texts_.cond = std::move(encoded.cond);
    texts_.uncond = std::move(encoded.uncond);
    texts_.structure = std::move(encoded.structure);
  }
}

bool Composition::is_own(const std::string& unet_layer) const {
  if (is_text_fed(unet_layer)) return has_own_text(compose_);
  return has_own_layers(compose_) && region::has_positions(unet_layer);
}

void Composition::keep_own() {
  std::vector<std::shared_ptr<const region::OwnUpdates>> own;
  bool any = false;
  for (std::size_t i = 0; i < called_.size(); ++i) {
    const auto of_text = std::make_shared<region::OwnUpdates>();
    for (const auto k : called_[i]) {
      const auto& one = session_.apart[k];
      const auto wanted = [&](const std::string& layer) {
        return is_own(layer) && (i > 0 || is_text_fed(layer));
      };
      of_text->add(session_.model.unet, concepts::filter(one.delta.of(Part::kUNet), wanted),
                   one.scale, one.name);
    }
    any = any || !called_[i].empty();
    own.push_back(called_[i].empty() ? nullptr : of_text);
  }
  if (!any) return;
  own_.context = own.front();
  own_.regions.assign(own.begin() + 1, own.end());
}

void Composition::merge_unet() {
  std::size_t elsewhere = 0;
  in_unet_ = std::make_unique<ScopedConcepts>(session_.model);
  for (std::size_t k = 0; k < session_.apart.size(); ++k) {
    if (!acts_now(k)) continue;
    const auto& one = session_.apart[k];
    const bool is_everywhere = everywhere_.contains(k);
    auto rest = concepts::filter(one.delta.of(Part::kUNet), [&](const std::string& layer) {
      return is_everywhere || !is_own(layer);
    });
    if (!is_everywhere && has_own_layers(compose_)) elsewhere += rest.size();
    in_unet_->add(Part::kUNet, std::move(rest), one);
  }
  in_unet_->merge();
  if (elsewhere == 0 || compose_ != Compose::kOwn) return;
  log::info(
      fmt::format("{} updates of the timestep's embedding act on the whole picture", elsewhere));
}

}  // namespace mos::session
