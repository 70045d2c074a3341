#include "mos/tune/attention_loss.h"

#include <cmath>

namespace mos::tune {

using torch::Tensor;

Tensor AttentionRecorder::process(nn::AttentionImpl& attention, const Tensor& hidden_states,
                                  const Tensor& context) {
  const auto source = attention.context_of_layer(context);
  const auto q = attention.query(hidden_states);  // [B,heads,N,D]
  const auto [k, v] = attention.key_value(source);
  const double scale = 1.0 / std::sqrt(static_cast<double>(attention.head_dim()));
  const auto scores = torch::matmul(q * scale, k.transpose(-2, -1));
  const auto probabilities = torch::softmax(scores, -1, torch::kFloat32);  // [B,heads,N,S]

  const auto positions = probabilities.size(2);
  const auto index = columns_.columns.unsqueeze(1).expand({-1, positions, -1});
  const auto of_words =
      probabilities.sum(1).index_select(0, columns_.samples).gather(2, index);  // [K,N,2]
  auto& map = maps_[positions];
  map.sum = map.sum.defined() ? map.sum + of_words : of_words;
  map.heads += attention.heads();

  return attention.output(torch::matmul(probabilities.to(v.scalar_type()), v));
}

namespace {

/// mask [K,N]: nearest neighbours of [K,1,h,w] at the feature size that has N positions.
Tensor mask_at(const Tensor& masks, std::int64_t positions) {
  const auto [height, width] = nn::feature_size(masks.size(2), masks.size(3), positions);
  return torch::upsample_nearest2d(masks, {height, width}).flatten(1);
}

/// 0 where nothing is outside: asking for that would wait for the device.
Tensor mean_outside(const Tensor& map, const Tensor& outside) {
  return (map * outside).sum() / outside.sum().clamp_min(1.0);
}

}  // namespace

AttentionMaps maps_of(const AttentionRecorder& recorder, const Tensor& masks) {
  AttentionMaps maps;
  if (recorder.columns().empty()) return maps;
  maps.masks =
      masks.to(torch::kFloat32).index_select(0, recorder.columns().samples.to(masks.device()));
  for (const auto& [positions, map] : recorder.maps()) {
    maps.means[positions] = map.sum / static_cast<double>(map.heads);
  }
  return maps;
}

AttentionMaps joined(const std::vector<AttentionMaps>& parts) {
  std::map<std::int64_t, std::vector<Tensor>> means;
  std::vector<Tensor> masks;
  for (const auto& part : parts) {
    for (const auto& [positions, mean] : part.means) means[positions].push_back(mean);
    if (part.masks.defined()) masks.push_back(part.masks);
  }
  AttentionMaps all;
  for (const auto& [positions, each] : means) all.means[positions] = torch::cat(each);
  if (!masks.empty()) all.masks = torch::cat(masks);
  return all;
}

Tensor attention_loss(const AttentionMaps& maps, SubjectAttention subject) {
  if (maps.means.empty()) return torch::zeros({}, torch::kFloat32);
  auto total = torch::zeros({}, maps.masks.options());
  for (const auto& [positions, mean] : maps.means) {
    const auto adjective = mean.select(2, 0), of_subject = mean.select(2, 1);  // [K,N]
    const auto adjective_map = adjective / adjective.max();
    const auto subject_map = of_subject / of_subject.max();
    const auto mask = mask_at(maps.masks, positions);
    const auto outside = (mask == 0).to(torch::kFloat32);

    if (subject == SubjectAttention::kFillsMask) {
      total = total + torch::mse_loss(subject_map, mask);
    } else {
      total = total + mean_outside(subject_map, outside);
    }
    total = total + mean_outside(adjective_map, outside);
  }
  return total;
}

}  // namespace mos::tune
