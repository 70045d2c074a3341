#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

/// The part of Python's pickle that files of torch.save need, as data: nothing is ever called.
namespace mos::io {

/// One value of a pickle. Nodes refer to each other as Python's objects do, so the graph may
/// share nodes and may contain cycles.
struct PickleNode {
  enum class Kind {
    kNone,
    kBool,
    kInt,
    kFloat,
    kText,
    kTuple,
    kList,
    kDict,
    kGlobal,
    kStorage,
    kTensor,
    kOpaque
  };

  Kind kind = Kind::kNone;
  std::int64_t integer = 0;  ///< kInt, kBool.
  double number = 0.0;       ///< kFloat.
  std::string text;          ///< kText; "module.name" of a kGlobal.
  /// kTuple, kList: the entries. kDict: key, value, key, value, … kStorage: the persistent id.
  /// kTensor: storage, offset, sizes, strides. kOpaque, an object that only a training run needs:
  /// nothing.
  std::vector<const PickleNode*> items;
};

/// A pickle that has been read; owns its nodes.
struct Pickle {
  std::deque<PickleNode> nodes;
  const PickleNode* root = nullptr;
  std::size_t bytes = 0;  ///< How many bytes of the input it took.
};

/// Reads the pickle at the start of `bytes` (protocols 0-5, the opcodes that plain data uses).
/// Names of classes and functions are checked against the lists of io/pickle_objects.h.
/// Throws mos::Error(kFormat): "cannot read `origin`: …" naming whatever else the file asks for.
Pickle read_pickle(std::string_view bytes, const std::string& origin);

}  // namespace mos::io
