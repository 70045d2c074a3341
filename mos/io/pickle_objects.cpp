#include "mos/io/pickle_objects.h"

#include <algorithm>
#include <array>
#include <utility>

#include "mos/io/names.h"

namespace mos::io {
namespace {

using Kind = PickleNode::Kind;

constexpr std::string_view kParameterDict = "torch.nn.modules.container.ParameterDict";

/// What weights are made of.
constexpr std::array<std::string_view, 21> kPlainGlobals = {
    "__builtin__.set",
    "__builtin__.frozenset",
    "builtins.set",
    "builtins.frozenset",
    "collections.OrderedDict",
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
    kParameterDict,
    "torch.nn.parameter.Parameter",
    "torch.Size",
    "torch.DoubleStorage",
    "torch.FloatStorage",
    "torch.HalfStorage",
    "torch.BFloat16Storage",
    "torch.LongStorage",
    "torch.IntStorage",
    "torch.ShortStorage",
    "torch.CharStorage",
    "torch.ByteStorage",
    "torch.BoolStorage",
};

/// What training runs leave beside them. sd-v1-4.ckpt keeps the state of its ModelCheckpoint under
/// the class itself; scores are scalars of NumPy, whose bytes come as Latin-1 text. Configurations
/// name types of numbers and devices.
constexpr std::array<std::string_view, 24> kOpaqueGlobals = {
    "pytorch_lightning.callbacks.*",
    "lightning.pytorch.callbacks.*",
    "pytorch_lightning.utilities.*",
    "lightning.fabric.utilities.*",
    "numpy.core.multiarray.scalar",
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "numpy.ndarray",
    "_codecs.encode",
    "torch.device",
    "torch.bool",
    "torch.uint8",
    "torch.int8",
    "torch.int16",
    "torch.int32",
    "torch.int64",
    "torch.float16",
    "torch.bfloat16",
    "torch.float32",
    "torch.float64",
    "torch.float8_*",
    "torch.complex64",
    "torch.complex128",
};

bool is_opaque(std::string_view global) {
  return std::any_of(kOpaqueGlobals.begin(), kOpaqueGlobals.end(),
                     [&](const auto pattern) { return matches_pattern(global, pattern); });
}

PickleNode node(Kind kind, std::vector<const PickleNode*> items = {}) {
  PickleNode result;
  result.kind = kind;
  result.items = std::move(items);
  return result;
}

bool is_sequence(const PickleNode& value) {
  return value.kind == Kind::kList || value.kind == Kind::kTuple;
}

/// OrderedDict([[key, value], …]), as Python 2 pickled it.
std::optional<PickleNode> ordered_dict(const std::vector<const PickleNode*>& given) {
  if (given.empty()) return node(Kind::kDict);
  if (!is_sequence(*given[0])) return std::nullopt;
  auto dict = node(Kind::kDict);
  for (const auto* pair : given[0]->items) {
    if (pair->items.size() != 2 || !is_sequence(*pair)) return std::nullopt;
    dict.items.insert(dict.items.end(), pair->items.begin(), pair->items.end());
  }
  return dict;
}

/// The items of the only argument, which must be of kind `from`.
std::optional<PickleNode> same_items(const std::vector<const PickleNode*>& given, Kind from,
                                     Kind to) {
  if (given.size() != 1 || given[0]->kind != from) return std::nullopt;
  return node(to, given[0]->items);
}

}  // namespace

bool is_known_global(std::string_view global) {
  return std::find(kPlainGlobals.begin(), kPlainGlobals.end(), global) != kPlainGlobals.end() ||
         is_opaque(global);
}

std::optional<PickleNode> result_of_call(const PickleNode& callable, const PickleNode& arguments) {
  if (callable.kind != Kind::kGlobal || arguments.kind != Kind::kTuple) return std::nullopt;
  const std::string_view name = callable.text;
  const auto& given = arguments.items;
  if (is_opaque(name)) return node(Kind::kOpaque);
  if (name == "collections.OrderedDict") return ordered_dict(given);
  if (name.ends_with(".set") || name.ends_with(".frozenset"))
    return same_items(given, Kind::kList, Kind::kList);
  if (name == "torch.Size") return same_items(given, Kind::kTuple, Kind::kTuple);
  if (name.starts_with("torch._utils._rebuild_tensor")) {
    if (given.size() < 4 || given[0]->kind != Kind::kStorage) return std::nullopt;
    return node(Kind::kTensor, {given[0], given[1], given[2], given[3]});
  }
  if (name == "torch._utils._rebuild_parameter" || name == "torch.nn.parameter.Parameter") {
    if (given.empty() || given[0]->kind != Kind::kTensor) return std::nullopt;
    return node(Kind::kTensor, given[0]->items);
  }
  return std::nullopt;  // storages are named, never called
}

std::optional<Kind> kind_of_new_object(const PickleNode& type) {
  if (type.kind != Kind::kGlobal) return std::nullopt;
  if (type.text == kParameterDict) return Kind::kDict;
  if (is_opaque(type.text)) return Kind::kOpaque;
  return std::nullopt;
}

}  // namespace mos::io
