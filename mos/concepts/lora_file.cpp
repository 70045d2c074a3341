#include "mos/concepts/lora_file.h"

namespace mos::concepts {

using checkpoint::Part;
using torch::Tensor;

namespace {

/// In the dtype of the factors where that holds the number exactly.
Tensor alpha_tensor(double alpha, torch::ScalarType dtype) {
  const auto exact = torch::tensor(static_cast<float>(alpha));
  const auto narrow = exact.to(dtype);
  return narrow.to(torch::kFloat32).equal(exact) ? narrow : exact;
}

/// Puts the tensors of one network into a dictionary.
class Writer {
 public:
  Writer(LoraDialect dialect, Part network, io::StateDict& dict)
      : key_{.dialect = dialect, .network = network}, dict_(dict) {}

  void put(const std::string& layer, const LayerUpdate& update) {
    key_.layer = layer;
    if (const auto* dense = update.dense()) {
      put_dense(*dense);
    } else {
      put_pair(update.low_rank());
    }
  }

 private:
  void put(LoraPart part, const Tensor& tensor) {
    key_.part = part;
    dict_[format_lora_key(key_)] = tensor.contiguous();
  }

  void put_pair(const LowRank& pair) {
    put(LoraPart::kDown, pair.down);
    put(LoraPart::kUp, pair.up);
    put_alpha(pair.scale, pair.alpha(), pair.down.scalar_type());
  }

  void put_dense(const Dense& update) {
    // Without a rank there is no alpha to keep the scale in.
    const bool folds = update.rank() == 0 && update.scale != 1.0;
    for (const auto& [part, tensor] : update.parts) {
      if (part == LoraPart::kMagnitude) {
        put(part, in_own_shape(tensor, update));
      } else if (folds && part == LoraPart::kKronecker2) {
        put(part, tensor.to(torch::kFloat32) * update.scale);
      } else {
        put(part, tensor);
      }
    }
    if (update.rank() == 0) return;
    const double alpha = update.scale * static_cast<double>(update.rank());
    put_alpha(update.scale, alpha, update.parts.begin()->second.scalar_type());
  }

  void put_alpha(double scale, double alpha, torch::ScalarType dtype) {
    const bool ours = key_.dialect == LoraDialect::kOfficial && scale != 1.0;
    if (ours || key_.dialect == LoraDialect::kKohya)
      put(LoraPart::kAlpha, alpha_tensor(alpha, dtype));
  }

  /// DoRA's magnitude of outputs has as many dimensions as the weight in LyCORIS' files; PEFT's is
  /// [O] for a linear layer and [1,O,1,1] for a convolution.
  Tensor in_own_shape(const Tensor& magnitude, const Dense& update) const {
    const auto down = update.parts.find(LoraPart::kDown);
    const auto dims = down == update.parts.end() ? magnitude.dim() : down->second.dim();
    if (key_.dialect == LoraDialect::kPeft) {
      return dims == 4 ? magnitude.reshape({1, -1, 1, 1}) : magnitude.flatten();
    }
    if (magnitude.dim() > 1) return magnitude;
    std::vector<std::int64_t> shape(static_cast<std::size_t>(dims), 1);
    shape[0] = -1;
    return magnitude.reshape(shape);
  }

  LoraKey key_;
  io::StateDict& dict_;
};

}  // namespace

ConceptDelta with_folded_scales(ConceptDelta delta) {
  for (auto& [network, updates] : delta.updates) {
    for (auto& [layer, update] : updates) {
      auto& pair = update.low_rank();
      if (pair.scale != 1.0) pair.up = pair.up.to(torch::kFloat32) * pair.scale;
      pair.scale = 1.0;
    }
  }
  return delta;
}

io::StateDict lora_tensors(const ConceptDelta& delta, LoraDialect dialect) {
  io::StateDict dict;
  for (const auto& [network, updates] : delta.updates) {
    Writer writer(dialect, network, dict);
    for (const auto& [layer, update] : updates) writer.put(layer, update);
  }
  return dict;
}

}  // namespace mos::concepts
