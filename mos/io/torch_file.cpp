#include "mos/io/torch_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <memory>

#include "mos/base/error.h"
#include "mos/base/text.h"
#include "mos/io/mapped_file.h"
#include "mos/io/mapped_tensor.h"
#include "mos/io/pickle.h"
#include "mos/io/zip_archive.h"

namespace mos::io {
namespace {

using Kind = PickleNode::Kind;

/// Deeper values are refused: a pickle can contain itself.
constexpr int kMaxDepth = 64;
/// More values than this are refused: a small pickle can repeat itself exponentially. So it can
/// with one long text, which is why the bytes of all texts, and of the names that tensors get from
/// the dictionaries around them, are counted too.
constexpr std::int64_t kMaxValues = 2'000'000;
constexpr std::size_t kMaxTextBytes = std::size_t{64} << 20;

constexpr std::string_view kZipSignature("PK\x03\x04", 4);
/// The first pickle of the older layout, protocol byte left out: 0x1950a86a20f9469cfc6c.
constexpr std::string_view kLegacyMagic("\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 13);
constexpr std::size_t kLegacyMagicOffset = 2;

constexpr std::array<std::pair<std::string_view, torch::ScalarType>, 10> kStorageTypes = {{
    {"torch.DoubleStorage", torch::kFloat64},
    {"torch.FloatStorage", torch::kFloat32},
    {"torch.HalfStorage", torch::kFloat16},
    {"torch.BFloat16Storage", torch::kBFloat16},
    {"torch.LongStorage", torch::kInt64},
    {"torch.IntStorage", torch::kInt32},
    {"torch.ShortStorage", torch::kInt16},
    {"torch.CharStorage", torch::kInt8},
    {"torch.ByteStorage", torch::kUInt8},
    {"torch.BoolStorage", torch::kBool},
}};

/// Whether a view touches only elements 0…numel-1 and has no more elements than that (which
/// refuses stride-0 views that would grow without bound when copied).
bool lies_inside(const std::vector<std::int64_t>& sizes, const std::vector<std::int64_t>& strides,
                 std::int64_t offset, std::int64_t numel) {
  __extension__ using Wide = __int128;  // products of two 64-bit numbers fit
  const bool empty = std::find(sizes.begin(), sizes.end(), 0) != sizes.end();
  Wide elements = 1, last = offset;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const auto size = std::max<std::int64_t>(sizes[i], 1);
    elements *= size;
    if (elements > (empty ? INT64_MAX : numel)) return false;
    last += Wide{size - 1} * strides[i];
  }
  return empty || last < numel;
}

/// Whether a view has elements several times, as torch's expand() makes it.
bool repeats_elements(const std::vector<std::int64_t>& sizes,
                      const std::vector<std::int64_t>& strides) {
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] > 1 && strides[i] == 0) return true;
  }
  return false;
}

/// Turns a pickle and the bytes of its storages into values.
class TorchFileReader {
 public:
  explicit TorchFileReader(const std::filesystem::path& path)
      : origin_(path.string()), file_(std::make_shared<MappedFile>(path)) {}

  TorchValue read() {
    const auto bytes = file_->text();
    if (bytes.empty()) fail("it is empty");
    if (bytes.starts_with(kZipSignature)) return read_zip(bytes);
    if (bytes.size() > kLegacyMagicOffset &&
        bytes.substr(kLegacyMagicOffset).starts_with(kLegacyMagic)) {
      return read_legacy(bytes);
    }
    fail("it is not a file of torch.save");
  }

 private:
  [[noreturn]] void fail(const std::string& reason) const {
    throw Error(ErrorKind::kFormat, fmt::format("cannot read {}: {}", origin_, reason));
  }

  TorchValue read_zip(std::string_view bytes) {
    constexpr std::string_view kPickleName = "/data.pkl";
    const auto entries = stored_zip_entries(bytes, origin_);
    const auto main = std::find_if(entries.begin(), entries.end(), [&](const auto& entry) {
      return entry.first.ends_with(kPickleName);
    });
    if (main == entries.end())
      fail("the zip archive holds no data.pkl, so torch.save did not make it");
    const auto root = main->first.substr(0, main->first.size() - kPickleName.size());
    check_crc(main->first, main->second, origin_);
    check_byte_order(entries, root + "/byteorder");

    const auto prefix = root + "/data/";
    for (const auto& [name, entry] : entries) {
      if (!name.starts_with(prefix)) continue;
      // When the values are used: whoever asks for names and shapes reads none of them.
      storage_bytes_[name.substr(prefix.size())] = {
          entry.bytes, [name, entry, origin = origin_] { check_crc(name, entry, origin); }};
    }
    const auto pickle = read_pickle(main->second.bytes, origin_);
    return convert(*pickle.root, 0);
  }

  void check_byte_order(const std::map<std::string, ZipEntry>& entries, const std::string& name) {
    const auto order = entries.find(name);
    if (order == entries.end()) return;
    check_crc(name, order->second, origin_);
    if (order->second.bytes != "little") fail("its numbers are big-endian");
  }

  /// Pickles one after the other (magic number, version, system, value, storage keys), then for
  /// each key the number of elements and the elements.
  TorchValue read_legacy(std::string_view bytes) {
    bytes.remove_prefix(kLegacyMagicOffset + kLegacyMagic.size());
    const auto next_pickle = [&] {
      auto pickle = read_pickle(bytes, origin_);
      bytes.remove_prefix(pickle.bytes);
      return pickle;
    };
    next_pickle();
    next_pickle();
    const auto value = next_pickle();
    const auto keys = next_pickle();
    std::map<std::string, std::size_t> element_sizes;
    for (const auto& node : value.nodes) {
      if (node.kind == Kind::kStorage) {
        element_sizes[storage_key(node)] = c10::elementSize(storage_dtype(node));
      }
    }
    for (const auto* key : keys.root->items) {
      const auto known = element_sizes.find(key->text);
      std::uint64_t count = 0;
      if (known == element_sizes.end() || bytes.size() < sizeof(count)) fail_storage(key->text);
      std::memcpy(&count, bytes.data(), sizeof(count));
      bytes.remove_prefix(sizeof(count));
      if (count > bytes.size() / known->second) fail_storage(key->text);
      storage_bytes_[key->text] = {bytes.substr(0, count * known->second), {}};
      bytes.remove_prefix(count * known->second);
    }
    return convert(*value.root, 0);
  }

  [[noreturn]] void fail_storage(const std::string& key) const {
    fail(fmt::format("the data of storage \"{}\" is damaged or incomplete; fetch the file again",
                     printable(key)));
  }

  // Persistent ids are ('storage', type, key, location, elements) and, in old files, a view.

  const PickleNode& storage_item(const PickleNode& storage, std::size_t index, Kind kind) const {
    const auto& items = storage.items;
    if (items.size() < 5 || items[0]->text != "storage" || items[index]->kind != kind) {
      fail("it names a storage in a way that torch.save does not");
    }
    return *items[index];
  }

  std::string storage_key(const PickleNode& storage) const {
    return storage_item(storage, 2, Kind::kText).text;
  }

  torch::ScalarType storage_dtype(const PickleNode& storage) const {
    const auto& name = storage_item(storage, 1, Kind::kGlobal).text;
    for (const auto& [known, dtype] : kStorageTypes) {
      if (known == name) return dtype;
    }
    fail(fmt::format("{} is not a type of storage", printable(name)));
  }

  /// All elements of a storage as a vector, made once.
  const torch::Tensor& storage_tensor(const PickleNode& storage) {
    const auto key = storage_key(storage);
    const auto dtype = storage_dtype(storage);
    const auto count = storage_item(storage, 4, Kind::kInt).integer;
    if (storage.items.size() > 5 && storage.items[5]->kind != Kind::kNone) {
      fail("it uses views of storages, which PyTorch no longer writes");
    }
    const auto made = storages_.find(key);
    if (made != storages_.end()) {
      if (made->second.scalar_type() != dtype) fail_storage(key);
      return made->second;
    }
    const auto found = storage_bytes_.find(key);
    const auto element_size = c10::elementSize(dtype);
    if (found == storage_bytes_.end() || count < 0 ||
        static_cast<std::uint64_t>(count) > found->second.bytes.size() / element_size) {
      fail_storage(key);
    }
    const auto bytes =
        found->second.bytes.substr(0, static_cast<std::size_t>(count) * element_size);
    return storages_[key] = mapped_tensor(file_, {bytes, found->second.check}, {count}, dtype);
  }

  std::vector<std::int64_t> integers(const PickleNode& node) const {
    std::vector<std::int64_t> result;
    if (node.items.size() > kMaxDimensions) fail("a tensor has an impossible shape");
    for (const auto* item : node.items) {
      if (item->kind != Kind::kInt || item->integer < 0) fail("a tensor has an impossible shape");
      result.push_back(item->integer);
    }
    return result;
  }

  /// A view of its storage that has been checked to lie inside it.
  torch::Tensor tensor(const PickleNode& node) {
    const auto& storage = storage_tensor(*node.items[0]);
    const auto offset = node.items[1]->integer;
    const auto sizes = integers(*node.items[2]), strides = integers(*node.items[3]);
    if (node.items[1]->kind != Kind::kInt || offset < 0 || sizes.size() != strides.size()) {
      fail("a tensor has an impossible shape");
    }
    const auto numel = storage.numel();
    if (!lies_inside(sizes, strides, offset, numel)) {
      if (repeats_elements(sizes, strides)) {
        fail(
            fmt::format("a tensor of shape {} repeats its elements (stride 0); save it with "
                        ".contiguous()",
                        shape_text(sizes)));
      }
      fail(fmt::format("a tensor of shape {} reaches beyond its storage of {} elements",
                       shape_text(sizes), numel));
    }
    if (std::find(sizes.begin(), sizes.end(), 0) != sizes.end()) {
      return torch::empty(sizes, storage.options());
    }
    return storage.as_strided(sizes, strides, offset);
  }

  /// As UTF-8: Python 2 pickled its strings as bytes of any kind.
  std::string text(const PickleNode& node) {
    text_bytes_ += node.text.size();
    if (text_bytes_ > kMaxTextBytes) fail("its texts are too long");
    return is_utf8(node.text) ? node.text : printable(node.text, std::string::npos);
  }

  TorchValue convert(const PickleNode& node, int depth) {
    if (depth > kMaxDepth) fail("its values are nested too deeply");
    if (++values_ > kMaxValues) fail("it holds too many values");
    switch (node.kind) {
      case Kind::kBool:
        return {node.integer != 0};
      case Kind::kInt:
        return {node.integer};
      case Kind::kFloat:
        return {node.number};
      case Kind::kText:
      case Kind::kGlobal:
        return {text(node)};
      case Kind::kTensor:
        ++tensors_;
        return {tensor(node)};
      case Kind::kStorage:
        ++tensors_;
        return {storage_tensor(node)};
      case Kind::kTuple:
      case Kind::kList: {
        TorchValue::List list;
        for (const auto* item : node.items) list.push_back(convert(*item, depth + 1));
        return {std::move(list)};
      }
      case Kind::kDict:
        return {convert_dict(node, depth)};
      case Kind::kNone:
      case Kind::kOpaque:
        break;
    }
    return {};
  }

  /// As in Python, a key that comes again keeps its place and gets the new value. Entries under
  /// None, pairs and the like are left out: the bookkeeping of some program, unless they hold
  /// tensors, which nothing could name.
  TorchValue::Dict convert_dict(const PickleNode& node, int depth) {
    TorchValue::Dict dict;
    std::map<std::string, std::size_t> places;
    for (std::size_t i = 0; i + 1 < node.items.size(); i += 2) {
      const auto& key = *node.items[i];
      const bool is_name = key.kind == Kind::kText || key.kind == Kind::kGlobal;
      const auto tensors = tensors_;
      auto value = convert(*node.items[i + 1], depth + 1);
      if (!is_name && key.kind != Kind::kInt) {
        if (tensors_ == tensors) continue;
        fail("a dictionary has a tensor under a key that is neither text nor a whole number");
      }
      auto name = is_name ? text(key) : fmt::format("{}", key.integer);
      const auto [place, is_new] = places.emplace(name, dict.size());
      if (is_new) {
        dict.emplace_back(std::move(name), std::move(value));
      } else {
        dict[place->second].second = std::move(value);
      }
    }
    return dict;
  }

  std::string origin_;
  std::shared_ptr<MappedFile> file_;
  std::map<std::string, MappedBytes> storage_bytes_;
  std::map<std::string, torch::Tensor> storages_;
  std::int64_t values_ = 0;
  std::int64_t tensors_ = 0;  ///< Of the values.
  std::size_t text_bytes_ = 0;
};

class Flattening {
 public:
  void add(const TorchValue& value, const std::string& path) {
    if (const auto* tensor = std::get_if<torch::Tensor>(&value.value)) {
      if (!result_.emplace(path, *tensor).second) {
        fail(fmt::format("two of its tensors are called \"{}\"", printable(path)));
      }
    } else if (const auto* list = std::get_if<TorchValue::List>(&value.value)) {
      for (std::size_t i = 0; i < list->size(); ++i) {
        add_below(path, fmt::format("{}", i), (*list)[i]);
      }
    } else if (const auto* dict = std::get_if<TorchValue::Dict>(&value.value)) {
      for (const auto& [name, item] : *dict) add_below(path, name, item);
    }
  }

  StateDict take() { return std::move(result_); }

 private:
  [[noreturn]] static void fail(const std::string& reason) {
    throw Error(ErrorKind::kFormat, reason);
  }

  void add_below(const std::string& path, const std::string& name, const TorchValue& value) {
    const bool holds_tensors = std::holds_alternative<torch::Tensor>(value.value) ||
                               std::holds_alternative<TorchValue::List>(value.value) ||
                               std::holds_alternative<TorchValue::Dict>(value.value);
    if (!holds_tensors) return;
    name_bytes_ += path.size() + name.size() + 1;
    if (name_bytes_ > kMaxTextBytes) fail("the names of its tensors are too long");
    add(value, path.empty() ? name : path + "/" + name);
  }

  StateDict result_;
  std::size_t name_bytes_ = 0;
};

}  // namespace

const TorchValue* TorchValue::find(std::string_view key) const {
  const auto* dict = std::get_if<Dict>(&value);
  if (dict == nullptr) return nullptr;
  for (const auto& [name, item] : *dict) {
    if (name == key) return &item;
  }
  return nullptr;
}

TorchValue read_torch_file(const std::filesystem::path& path) {
  return TorchFileReader(path).read();
}

StateDict flatten_tensors(const TorchValue& value) {
  Flattening flattening;
  flattening.add(value, "");
  return flattening.take();
}

}  // namespace mos::io
