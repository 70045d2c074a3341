#pragma once

#include <cstdint>
#include <string>

#include "mos/base/random.h"
#include "mos/concepts/layer_update.h"
#include "mos/fuse/fuse_concepts.h"
#include "tests/support/tiny_model.h"

/// Concepts of the tiny model.
namespace mos::tiny {

/// LoRA on every attention layer of one network.
inline concepts::LayerUpdates random_pairs(torch::nn::Module& network, at::Generator& generator) {
  concepts::LayerUpdates pairs;
  nn::for_each_lora_layer(network, [&](const std::string& name, nn::LoraLayer& layer) {
    if (name.find("attn") == std::string::npos) return;
    pairs[name] = concepts::LowRank{.down = 0.3 * randn({2, layer.in_features()}, generator),
                                    .up = 0.3 * randn({layer.out_features(), 2}, generator)};
  });
  return pairs;
}

/// Two words and such LoRAs in both networks of the tiny model.
inline fuse::ConceptSource random_source(const std::string& name, std::uint64_t seed) {
  auto base = model();
  auto generator = seeded_generator(seed);
  fuse::ConceptSource source{.name = name};
  for (const char* number : {"1", "2"}) {
    source.delta.words.push_back(
        {"<" + name + number + ">",
         0.3 * randn({base.unet->cross_attention_count(), 16}, generator)});
  }
  source.delta.updates[checkpoint::Part::kTextEncoder] =
      random_pairs(*base.towers[0].encoder, generator);
  source.delta.updates[checkpoint::Part::kUNet] = random_pairs(*base.unet, generator);
  return source;
}

}  // namespace mos::tiny
