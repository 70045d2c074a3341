#include "mos/io/safetensors_header.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "mos/base/error.h"
#include "mos/base/json.h"

namespace mos::io {
namespace {

/// Looks keys up in logarithmic time, which our order-keeping Json does not: a hostile header may
/// hold millions of them.
using SortedJson = nlohmann::json;

constexpr const char* kMetadataKey = "__metadata__";
constexpr int kMaxDepth = 3;  // header > tensor > shape
constexpr std::size_t kMaxDimensions = 64;

constexpr std::array<std::pair<std::string_view, torch::ScalarType>, 10> kDtypes = {{
    {"F64", torch::kFloat64},
    {"F32", torch::kFloat32},
    {"F16", torch::kFloat16},
    {"BF16", torch::kBFloat16},
    {"I64", torch::kInt64},
    {"I32", torch::kInt32},
    {"I16", torch::kInt16},
    {"I8", torch::kInt8},
    {"U8", torch::kUInt8},
    {"BOOL", torch::kBool},
}};

class HeaderParser {
 public:
  HeaderParser(std::string_view json, std::uint64_t data_bytes, const std::string& origin)
      : json_(json), data_bytes_(data_bytes), origin_(origin) {}

  SafetensorsHeader parse() {
    const SortedJson root = parse_json_strictly();
    if (!root.is_object()) fail("its header is not a JSON object");
    SafetensorsHeader header;
    for (const auto& [name, value] : root.items()) {
      if (name == kMetadataKey) {
        header.metadata = parse_metadata(value);
      } else {
        header.tensors.push_back(parse_tensor(name, value));
      }
    }
    check_layout(header.tensors);
    return header;
  }

 private:
  template <typename... Args>
  [[noreturn]] void fail(fmt::format_string<Args...> text, Args&&... args) const {
    throw Error(ErrorKind::kFormat, fmt::format("cannot read {}: {}", origin_,
                                                fmt::format(text, std::forward<Args>(args)...)));
  }

  /// JSON without duplicate keys and without deep nesting, both of which the JSON library allows.
  SortedJson parse_json_strictly() const {
    std::array<std::set<std::string>, kMaxDepth + 1> keys;
    const auto check = [&](int depth, SortedJson::parse_event_t event, SortedJson& value) {
      if (depth > kMaxDepth) fail("its header is nested too deeply");
      const auto level = static_cast<std::size_t>(depth);
      if (event == SortedJson::parse_event_t::object_start && depth < kMaxDepth)
        keys[level + 1].clear();
      if (event == SortedJson::parse_event_t::key &&
          !keys[level].insert(value.get<std::string>()).second) {
        fail("its header has the key \"{}\" twice", value.get<std::string>());
      }
      return true;
    };
    try {
      return SortedJson::parse(json_.begin(), json_.end(), check);
    } catch (const nlohmann::json::exception& error) {
      fail("its header is not valid JSON ({})", error.what());
    }
  }

  std::map<std::string, std::string> parse_metadata(const SortedJson& value) const {
    if (!value.is_object()) fail("{} is not a JSON object", kMetadataKey);
    std::map<std::string, std::string> metadata;
    for (const auto& [key, text] : value.items()) {
      if (!text.is_string()) fail("{} has a value for \"{}\" that is no string", kMetadataKey, key);
      metadata[key] = text.get<std::string>();
    }
    return metadata;
  }

  TensorInfo parse_tensor(const std::string& name, const SortedJson& value) const {
    if (!value.is_object()) fail("the header entry of tensor \"{}\" is not a JSON object", name);
    for (const auto& [key, ignored] : value.items()) {
      if (key != "dtype" && key != "shape" && key != "data_offsets") {
        fail("tensor \"{}\" has an unknown header field \"{}\"", name, key);
      }
    }
    TensorInfo info;
    info.name = name;
    info.dtype = parse_dtype(name, value);
    for (const auto size : integers(name, value, "shape")) {
      if (size > static_cast<std::uint64_t>(INT64_MAX)) {
        fail("tensor \"{}\" has the impossible size {}", name, size);
      }
      info.shape.push_back(static_cast<std::int64_t>(size));
    }
    if (info.shape.size() > kMaxDimensions) {
      fail("tensor \"{}\" has {} dimensions, more than {}", name, info.shape.size(),
           kMaxDimensions);
    }
    const auto offsets = integers(name, value, "data_offsets");
    if (offsets.size() != 2) {
      fail("tensor \"{}\" has {} data_offsets, expected 2", name, offsets.size());
    }
    info.begin = offsets[0];
    info.end = offsets[1];
    check_range(info);
    return info;
  }

  torch::ScalarType parse_dtype(const std::string& name, const SortedJson& value) const {
    const auto field = value.find("dtype");
    if (field == value.end() || !field->is_string()) fail("tensor \"{}\" has no dtype", name);
    const auto text = field->get<std::string>();
    for (const auto& [known, dtype] : kDtypes) {
      if (known == text) return dtype;
    }
    fail("tensor \"{}\" has the unknown dtype \"{}\"", name, text);
  }

  std::vector<std::uint64_t> integers(const std::string& name, const SortedJson& value,
                                      const char* key) const {
    const auto field = value.find(key);
    if (field == value.end() || !field->is_array()) {
      fail("tensor \"{}\" has no list \"{}\"", name, key);
    }
    std::vector<std::uint64_t> result;
    for (const auto& item : *field) {
      if (!item.is_number_unsigned()) {
        fail("tensor \"{}\" has {} in \"{}\", expected whole numbers from 0", name, item.dump(),
             key);
      }
      result.push_back(item.get<std::uint64_t>());
    }
    return result;
  }

  /// Offsets in order and inside the file, and as many bytes as shape and dtype need.
  void check_range(const TensorInfo& info) const {
    if (info.begin > info.end) {
      fail("tensor \"{}\" ends at byte {} before it begins at {}", info.name, info.end, info.begin);
    }
    if (info.end > data_bytes_) {
      fail(
          "tensor \"{}\" ends at byte {} of the data, but there are only {}; the file may be "
          "incomplete: fetch it again",
          info.name, info.end, data_bytes_);
    }
    const std::uint64_t element_size = c10::elementSize(info.dtype);
    std::uint64_t bytes = element_size;
    std::uint64_t extent = element_size;  // what the strides need, also when a size is 0
    bool overflow = false;
    for (const auto size : info.shape) {
      const auto count = static_cast<std::uint64_t>(size);
      bytes *= count;
      overflow =
          overflow || __builtin_mul_overflow(extent, std::max<std::uint64_t>(count, 1), &extent);
    }
    if (overflow) {
      fail("tensor \"{}\" has the shape {}, whose size in bytes overflows", info.name,
           shape_text(info.shape));
    }
    if (bytes != info.end - info.begin) {
      fail("tensor \"{}\" of dtype {} and shape {} needs {} bytes but has {}", info.name,
           *dtype_name(info.dtype), shape_text(info.shape), bytes, info.end - info.begin);
    }
  }

  /// Sorts by offset; the data then has to be adjacent from 0 to the end of the file.
  void check_layout(std::vector<TensorInfo>& tensors) const {
    std::sort(tensors.begin(), tensors.end(), [](const TensorInfo& a, const TensorInfo& b) {
      return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
    });
    std::uint64_t position = 0;
    const TensorInfo* previous = nullptr;
    for (const auto& info : tensors) {
      if (info.begin < position) {
        fail("the data of tensors \"{}\" and \"{}\" overlap", previous->name, info.name);
      }
      if (info.begin > position) {
        fail("there is a gap of {} bytes before tensor \"{}\"", info.begin - position, info.name);
      }
      position = info.end;
      previous = &info;
    }
    if (position != data_bytes_) {
      fail("{} bytes after the last tensor belong to none", data_bytes_ - position);
    }
  }

  std::string_view json_;
  std::uint64_t data_bytes_;
  const std::string& origin_;
};

}  // namespace

std::optional<std::string_view> dtype_name(torch::ScalarType dtype) {
  for (const auto& [name, known] : kDtypes) {
    if (known == dtype) return name;
  }
  return std::nullopt;
}

SafetensorsHeader parse_safetensors_header(std::string_view json, std::uint64_t data_bytes,
                                           const std::string& origin) {
  return HeaderParser(json, data_bytes, origin).parse();
}

std::string format_safetensors_header(const SafetensorsHeader& header) {
  Json root = Json::object();
  if (!header.metadata.empty()) root[kMetadataKey] = header.metadata;
  for (const auto& info : header.tensors) {
    const auto dtype = dtype_name(info.dtype);
    if (!dtype || info.name == kMetadataKey) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("cannot write tensor \"{}\": safetensors has no such {}", info.name,
                              dtype ? "name" : "dtype"));
    }
    root[info.name] = {
        {"dtype", *dtype}, {"shape", info.shape}, {"data_offsets", {info.begin, info.end}}};
  }
  try {
    auto text = root.dump();
    text.resize((text.size() + 7) / 8 * 8, ' ');
    return text;
  } catch (const nlohmann::json::exception& error) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format("cannot write names or metadata that are not UTF-8 ({})", error.what()));
  }
}

}  // namespace mos::io
