#include <gtest/gtest.h>

#include <cmath>

#include "mos/base/file.h"
#include "mos/base/random.h"
#include "mos/eval/clip_score.h"
#include "mos/io/safetensors.h"
#include "tests/support/temp_dir.h"

namespace mos::eval {
namespace {

using torch::Tensor;

constexpr std::int64_t kWidth = 4, kWide = 6, kSide = 4, kPatch = 2, kHeads = 2;

/// A transformer of one layer under transformers' names.
io::StateDict random_weights() {
  auto generator = seeded_generator(3);
  io::StateDict weights;
  const auto add = [&](const std::string& name, at::IntArrayRef shape) {
    weights[name] = randn(shape, generator) * 0.5;
  };
  add("embeddings.cls_token", {1, 1, kWidth});
  add("embeddings.position_embeddings", {1, 5, kWidth});
  add("embeddings.patch_embeddings.projection.weight", {kWidth, 3, kPatch, kPatch});
  add("embeddings.patch_embeddings.projection.bias", {kWidth});
  const std::string layer = "encoder.layer.0.";
  for (const char* name : {"attention.attention.query", "attention.attention.key",
                           "attention.attention.value", "attention.output.dense"}) {
    add(layer + name + ".weight", {kWidth, kWidth});
    add(layer + name + ".bias", {kWidth});
  }
  add(layer + "intermediate.dense.weight", {kWide, kWidth});
  add(layer + "intermediate.dense.bias", {kWide});
  add(layer + "output.dense.weight", {kWidth, kWide});
  add(layer + "output.dense.bias", {kWidth});
  for (const auto& name :
       {layer + "layernorm_before", layer + "layernorm_after", std::string("layernorm")}) {
    add(name + ".weight", {kWidth});
    add(name + ".bias", {kWidth});
  }
  return weights;
}

/// The class token of one picture [3,S,S], written down from the paper of vision transformers.
Tensor class_token(const io::StateDict& w, const Tensor& pixels) {
  const auto norm = [&](const Tensor& x, const std::string& name) {
    const auto centred = x - x.mean(-1, true);
    return centred / (centred.pow(2).mean(-1, true) + 1e-12).sqrt() * w.at(name + ".weight") +
           w.at(name + ".bias");
  };
  const auto linear = [&](const Tensor& x, const std::string& name) {
    return x.matmul(w.at(name + ".weight").t()) + w.at(name + ".bias");
  };
  std::vector<Tensor> tokens = {w.at("embeddings.cls_token").view({kWidth})};
  const auto kernel = w.at("embeddings.patch_embeddings.projection.weight").flatten(1);
  for (std::int64_t y = 0; y < kSide; y += kPatch) {
    for (std::int64_t x = 0; x < kSide; x += kPatch) {
      const auto patch = pixels.slice(1, y, y + kPatch).slice(2, x, x + kPatch).flatten();
      tokens.push_back(kernel.mv(patch) + w.at("embeddings.patch_embeddings.projection.bias"));
    }
  }
  auto x = torch::stack(tokens) + w.at("embeddings.position_embeddings")[0];
  const std::string layer = "encoder.layer.0.";
  const auto read = norm(x, layer + "layernorm_before");
  const auto q = linear(read, layer + "attention.attention.query");
  const auto k = linear(read, layer + "attention.attention.key");
  const auto v = linear(read, layer + "attention.attention.value");
  std::vector<Tensor> heads;
  const auto size = kWidth / kHeads;
  for (std::int64_t h = 0; h < kHeads; ++h) {
    const auto of_head = [&](const Tensor& y) { return y.narrow(1, h * size, size); };
    const auto scores = of_head(q).matmul(of_head(k).t()) / std::sqrt(static_cast<double>(size));
    heads.push_back(scores.softmax(1).matmul(of_head(v)));
  }
  x = x + linear(torch::cat(heads, 1), layer + "attention.output.dense");
  const auto wide = linear(norm(x, layer + "layernorm_after"), layer + "intermediate.dense");
  const auto active = wide * 0.5 * (1.0 + (wide / std::sqrt(2.0)).erf());
  x = x + linear(active, layer + "output.dense");
  return norm(x, "layernorm")[0];
}

TEST(DinoScorer, EmbedsTheClassTokenOfAnyPicture) {
  const TempDir folder;
  const auto weights = random_weights();
  io::StateDict stored;
  for (const auto& [name, tensor] : weights) stored["vit." + name] = tensor;  // of a classifier
  stored["classifier.weight"] = torch::zeros({2, kWidth});
  io::save_safetensors(folder / "model.safetensors", stored);
  write_text_file(folder / "config.json",
                  R"({"model_type": "vit", "hidden_size": 4, "intermediate_size": 6,
                      "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 4,
                      "patch_size": 2})");
  DinoScorer dino(folder.path());
  const auto picture = torch::randint(0, 256, {9, 7, 3}, torch::kUInt8);
  const auto expected = class_token(weights, tower_pixels(picture, dino_input(kSide)));
  const auto actual = dino.image_embeds(picture.unsqueeze(0))[0];
  EXPECT_TRUE(actual.allclose(expected / expected.norm(), 1e-4, 1e-5));
}

}  // namespace
}  // namespace mos::eval
