#include "mos/fuse/taught_words.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace mos::fuse {

using concepts::BoundWord;
using concepts::ConceptTokens;
using concepts::TowerRows;
using torch::Tensor;

namespace {

/// Among the concept rows of an encoder.
std::int64_t first_row_of(const BoundWord& word, nn::CLIPTextModel encoder) {
  return word.first_id - encoder->token_embedding().size(0);
}

double squared_norm(const Tensor& rows) {
  return rows.to(torch::kFloat64).square().sum().item<double>();
}

}  // namespace

TaughtWords::TaughtWords(const diffusion::Model& model, const ConceptTokens& tokens,
                         const std::vector<std::string>& words)
    : tokens_(tokens) {
  for (const auto& known : tokens.words()) {
    if (std::ranges::find(words, known.word) != words.end()) words_.push_back(known);
  }
  std::ranges::sort(words_, {}, &BoundWord::first_id);
  for (const auto& tower : model.towers) towers_.push_back(attach(tower));
}

TaughtWords::Tower TaughtWords::attach(const diffusion::TextTower& tower) const {
  Tower attached{.part = tower.part,
                 .encoder = tower.encoder,
                 .frozen = nullptr,
                 .former = tower.encoder->concept_rows(),
                 .pieces = {},
                 .leaves = {}};
  const auto& all = attached.former;
  std::int64_t end = 0;  // of what the pieces have
  for (const auto& word : words_) {
    const auto first = first_row_of(word, attached.encoder);
    attached.pieces.push_back(all.narrow(0, end, first - end));
    end = first + word.rows;
    // A copy: the former rows are to be there afterwards.
    attached.leaves.push_back(all.narrow(0, first, word.rows).detach().clone());
    attached.leaves.back().requires_grad_(true);
    attached.pieces.push_back(attached.leaves.back());
  }
  attached.pieces.push_back(all.narrow(0, end, all.size(0) - end));
  // A gradient through float16 would be lost below its smallest numbers.
  attached.frozen = std::make_unique<FrozenNetwork>(*attached.encoder, torch::kFloat32);
  return attached;
}

TaughtWords::~TaughtWords() {
  for (auto& tower : towers_) tower.encoder->set_concept_rows(tower.former);
}

std::vector<train::ParameterGroup> TaughtWords::groups(double relative_rate) const {
  std::vector<train::ParameterGroup> result;
  for (const auto& tower : towers_) {
    for (std::size_t i = 0; i < words_.size(); ++i) {
      const auto& rows = tower.leaves[i];
      const auto size = rows.detach().square().mean().sqrt().item<double>();
      result.push_back(
          {.parameters = {{fmt::format("{}/{}", folder_of(tower.part), words_[i].word), rows}},
           .rate = relative_rate * size});
    }
  }
  return result;
}

void TaughtWords::put() {
  for (auto& tower : towers_) tower.encoder->set_concept_rows(torch::cat(tower.pieces));
}

bool TaughtWords::occur_in(std::string_view prompt) const {
  const auto texts = tokens_.bind(prompt);
  return std::ranges::any_of(texts.front(), [&](const text::TextPiece& piece) {
    return piece.token && std::ranges::any_of(words_, [&](const BoundWord& word) {
             return *piece.token >= word.first_id && *piece.token < word.first_id + word.rows;
           });
  });
}

RowsByWord TaughtWords::rows() const {
  RowsByWord result;
  for (const auto& tower : towers_) {
    for (std::size_t i = 0; i < words_.size(); ++i) {
      result[words_[i].word].set(
          tower.part, tower.leaves[i].detach().to(torch::kCPU, torch::kFloat32,
                                                  /*non_blocking=*/false, /*copy=*/true));
    }
  }
  return result;
}

void put_rows(const diffusion::Model& model, const ConceptTokens& tokens, const RowsByWord& rows) {
  if (rows.empty()) return;
  for (const auto& tower : model.towers) {
    auto encoder = tower.encoder;
    auto all = encoder->concept_rows().clone();  // others may hold the tensor
    for (const auto& word : tokens.words()) {
      const auto found = rows.find(word.word);
      if (found == rows.end()) continue;
      all.narrow(0, first_row_of(word, encoder), word.rows).copy_(found->second.of(tower.part));
    }
    encoder->set_concept_rows(all);
  }
}

double relative_change(const TowerRows& before, const TowerRows& after) {
  double change = 0.0, whole = 0.0;
  for (const auto& [part, rows] : before) {
    const auto own = rows.cpu().to(torch::kFloat64);
    change += squared_norm(after.of(part).to(torch::kFloat64) - own);
    whole += squared_norm(own);
  }
  return whole > 0.0 ? std::sqrt(change / whole) : 0.0;
}

}  // namespace mos::fuse
