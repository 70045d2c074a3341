#include "mos/tune/first_token.h"

namespace mos::tune {

using torch::Tensor;

namespace {

/// [B,heads,M,D]
Tensor stopped(const Tensor& of_tokens) {
  return torch::cat({of_tokens.narrow(2, 0, 1).detach(), of_tokens.slice(2, 1)}, 2);
}

}  // namespace

Tensor FirstTokenStop::process(nn::AttentionImpl& attention, const Tensor& hidden_states,
                               const Tensor& context) {
  const auto [key, value] = attention.key_value(attention.context_of_layer(context));
  const auto mixed = nn::attention(attention.query(hidden_states), stopped(key), stopped(value));
  return attention.output(mixed);
}

}  // namespace mos::tune
