#include "mos/io/torch_writer.h"

#include <fmt/core.h>

#include <algorithm>
#include <bit>
#include <map>
#include <string>
#include <vector>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/io/pickle_opcodes.h"
#include "mos/io/zip_writer.h"

namespace mos::io {

using torch::Tensor;

namespace {

/// The class that torch names a tensor's memory by.
std::string storage_class(torch::ScalarType dtype) {
  switch (dtype) {
    case torch::kFloat64:
      return "DoubleStorage";
    case torch::kFloat32:
      return "FloatStorage";
    case torch::kFloat16:
      return "HalfStorage";
    case torch::kBFloat16:
      return "BFloat16Storage";
    case torch::kInt64:
      return "LongStorage";
    case torch::kInt32:
      return "IntStorage";
    case torch::kInt16:
      return "ShortStorage";
    case torch::kInt8:
      return "CharStorage";
    case torch::kUInt8:
      return "ByteStorage";
    case torch::kBool:
      return "BoolStorage";
    default:
      throw Error(ErrorKind::kUsage, fmt::format("files of torch.save are not written with tensors "
                                                 "of type {}",
                                                 c10::toString(dtype)));
  }
}

/// Turns a value into the bytes of a pickle and collects its tensors, the storages 0, 1, 2, …
class PickleWriter {
 public:
  std::string write(const TorchValue& value) {
    op(Opcode::kProto);
    // Protocol 2, torch.save's own default: every PyTorch reads it.
    byte(2);
    put(value);
    op(Opcode::kStop);
    return std::move(bytes_);
  }
  const std::vector<Tensor>& tensors() const { return tensors_; }

 private:
  void op(Opcode opcode) { byte(static_cast<unsigned char>(opcode)); }
  void byte(unsigned char value) { bytes_ += static_cast<char>(value); }
  void little_endian(std::uint64_t value, int count) {
    for (int i = 0; i < count; ++i) byte(static_cast<unsigned char>(value >> (8 * i) & 0xff));
  }

  void text(std::string_view value) {
    op(Opcode::kBinUnicode);
    little_endian(value.size(), 4);
    bytes_ += value;
  }

  void integer(std::int64_t value) {
    if (value >= 0 && value < 256) {
      op(Opcode::kBinInt1);
      byte(static_cast<unsigned char>(value));
    } else if (value == static_cast<std::int32_t>(value)) {
      op(Opcode::kBinInt);
      little_endian(static_cast<std::uint64_t>(value), 4);
    } else {
      op(Opcode::kLong1);
      byte(8);
      little_endian(static_cast<std::uint64_t>(value), 8);
    }
  }

  void number(double value) {
    op(Opcode::kBinFloat);
    const auto bits = std::bit_cast<std::uint64_t>(value);
    for (int i = 7; i >= 0; --i) byte(static_cast<unsigned char>(bits >> (8 * i) & 0xff));
  }

  void global(std::string_view module, std::string_view name) {
    op(Opcode::kGlobal);
    bytes_ += fmt::format("{}\n{}\n", module, name);
  }

  void sizes(torch::IntArrayRef values) {
    op(Opcode::kMark);
    for (const auto value : values) integer(value);
    op(Opcode::kTuple);
  }

  /// _rebuild_tensor_v2(storage, offset, size, stride, requires_grad, backward_hooks).
  void tensor(const Tensor& given) {
    // A view would bring its whole storage along: of 77 rows of a vocabulary, all 49,408.
    const auto whole = given.detach().cpu().contiguous();
    global("torch._utils", "_rebuild_tensor_v2");
    op(Opcode::kMark);
    op(Opcode::kMark);
    text("storage");
    global("torch", storage_class(whole.scalar_type()));
    text(fmt::format("{}", tensors_.size()));
    // Where it was saved from; a reader maps it to where it wants.
    text("cpu");
    integer(whole.numel());
    op(Opcode::kTuple);
    op(Opcode::kBinPersistentId);
    integer(0);
    sizes(whole.sizes());
    sizes(whole.strides());
    op(Opcode::kNewFalse);
    global("collections", "OrderedDict");
    op(Opcode::kEmptyTuple);
    op(Opcode::kReduce);
    op(Opcode::kTuple);
    op(Opcode::kReduce);
    tensors_.push_back(whole);
  }

  void put(const TorchValue& value) {
    std::visit([this](const auto& content) { put_content(content); }, value.value);
  }
  void put_content(std::monostate /*none*/) { op(Opcode::kNone); }
  void put_content(bool value) { op(value ? Opcode::kNewTrue : Opcode::kNewFalse); }
  void put_content(std::int64_t value) { integer(value); }
  void put_content(double value) { number(value); }
  void put_content(const std::string& value) { text(value); }
  void put_content(const Tensor& value) { tensor(value); }
  void put_content(const TorchValue::List& list) {
    op(Opcode::kEmptyList);
    op(Opcode::kMark);
    for (const auto& item : list) put(item);
    op(Opcode::kAppends);
  }
  void put_content(const TorchValue::Dict& dict) {
    op(Opcode::kEmptyDict);
    op(Opcode::kMark);
    for (const auto& [name, item] : dict) {
      text(name);
      put(item);
    }
    op(Opcode::kSetItems);
  }

  std::string bytes_;
  std::vector<Tensor> tensors_;
};

/// Dictionaries that are still being filled.
struct Branch {
  std::map<std::string, Branch> children;
  Tensor leaf;
};

TorchValue value_of(const Branch& branch) {
  if (branch.leaf.defined()) return {branch.leaf};
  TorchValue::Dict dict;
  for (const auto& [name, child] : branch.children) dict.emplace_back(name, value_of(child));
  return {std::move(dict)};
}

}  // namespace

void save_torch_file(const std::filesystem::path& path, const TorchValue& value,
                     const FileRules& rules) {
  PickleWriter pickle;
  const auto bytes = pickle.write(value);
  AtomicFile file(path, rules);
  ZipWriter zip(file);
  zip.add("archive/data.pkl", bytes);
  for (std::size_t i = 0; i < pickle.tensors().size(); ++i) {
    const auto& tensor = pickle.tensors()[i];
    zip.add(fmt::format("archive/data/{}", i),
            {static_cast<const char*>(tensor.data_ptr()), tensor.nbytes()});
  }
  // What PyTorch's reader asks for first.
  zip.add("archive/version", "3\n");
  zip.finish();
  file.commit();
}

TorchValue nest_tensors(const StateDict& dict) {
  Branch root;
  for (const auto& [key, tensor] : dict) {
    auto* place = &root;
    for (std::size_t begin = 0; begin <= key.size();) {
      const auto end = std::min(key.find('/', begin), key.size());
      place = &place->children[key.substr(begin, end - begin)];
      // A tensor stands where a dictionary would begin.
      if (place->leaf.defined()) break;
      begin = end + 1;
    }
    if (place->leaf.defined() || !place->children.empty()) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("the tensor name {} goes on where another one ends", key));
    }
    place->leaf = tensor;
  }
  return value_of(root);
}

}  // namespace mos::io
