#include "mos/io/safetensors_header.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <tuple>
#include <utility>

#include "mos/base/error.h"
#include "mos/base/json.h"
#include "mos/base/json_mistake.h"
#include "mos/base/text.h"
#include "mos/io/mapped_tensor.h"

namespace mos::io {
namespace {

constexpr const char* kMetadataKey = "__metadata__";
constexpr std::size_t kMaxTensors = 1'000'000;  // Stable Diffusion has some 1,100

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

std::optional<torch::ScalarType> dtype_named(std::string_view text) {
  for (const auto& [name, dtype] : kDtypes) {
    if (name == text) return dtype;
  }
  return std::nullopt;
}

template <typename... Args>
[[noreturn]] void fail(const std::string& origin, fmt::format_string<Args...> text,
                       Args&&... args) {
  throw Error(ErrorKind::kFormat, fmt::format("cannot read {}: {}", origin,
                                              fmt::format(text, std::forward<Args>(args)...)));
}

/// Takes the header from the events of the JSON parser, in linear time and with no more memory than
/// its tensors need: values that mean nothing are refused where they stand.
class HeaderEvents : public nlohmann::json_sax<Json> {
 public:
  HeaderEvents(std::string_view json, const std::string& origin) : json_(json), origin_(origin) {}

  SafetensorsHeader take() { return std::move(header_); }

  bool start_object(std::size_t /*unknown*/) override {
    // An object inside of a tensor or of the metadata is refused when it begins, so depth needs no
    // bound of its own.
    if (level_ == Level::kTop) {
      level_ = Level::kHeader;
    } else if (level_ == Level::kHeader && name_ == kMetadataKey) {
      if (has_metadata_) fail_twice(name_);
      has_metadata_ = true;
      level_ = Level::kMetadata;
    } else if (level_ == Level::kHeader) {
      begin_tensor();
    } else {
      refuse("an object");
    }
    return true;
  }

  bool end_object() override {
    if (level_ == Level::kTensor) finish_tensor();
    level_ = level_ == Level::kHeader ? Level::kTop : Level::kHeader;
    return true;
  }

  bool start_array(std::size_t /*unknown*/) override {
    const bool is_list = level_ == Level::kTensor && (field_ == kShape || field_ == kOffsets);
    if (!is_list) refuse("a list");
    level_ = Level::kList;
    return true;
  }

  bool end_array() override {
    level_ = Level::kTensor;
    return true;
  }

  bool key(std::string& name) override {
    switch (level_) {
      case Level::kHeader:
        name_ = std::move(name);
        break;
      case Level::kMetadata:
        metadata_key_ = std::move(name);
        break;
      default:
        begin_field(name);
        break;
    }
    return true;
  }

  bool string(std::string& text) override {
    if (level_ == Level::kMetadata) {
      if (!header_.metadata.emplace(metadata_key_, std::move(text)).second) {
        fail_twice(metadata_key_);
      }
    } else if (level_ == Level::kTensor && field_ == kDtype) {
      const auto dtype = dtype_named(text);
      if (!dtype) {
        fail(origin_,
             "tensor \"{}\" has the dtype \"{}\", which is not read here; have its program write "
             "F16, BF16 or F32",
             shown_name(), printable(text));
      }
      header_.tensors.back().dtype = *dtype;
    } else {
      refuse(fmt::format("\"{}\"", printable(text)));
    }
    return true;
  }

  bool number_unsigned(std::uint64_t number) override {
    if (level_ != Level::kList) refuse(fmt::format("{}", number));
    if (field_ == kShape) {
      add_size(number);
    } else {
      add_offset(number);
    }
    return true;
  }

  bool null() override { refuse("null"); }
  bool boolean(bool value) override { refuse(value ? "true" : "false"); }
  bool number_integer(std::int64_t number) override { refuse(fmt::format("{}", number)); }
  bool number_float(double /*number*/, const std::string& text) override {
    refuse(printable(text));
  }
  bool binary(Json::binary_t& /*value*/) override { refuse("bytes"); }

  bool parse_error(std::size_t read, const std::string& /*token*/,
                   const nlohmann::json::exception& error) override {
    fail(origin_, "its header is not valid JSON: {}", json_mistake(json_, read, error.what()));
  }

 private:
  /// What is open.
  enum class Level { kTop, kHeader, kMetadata, kTensor, kList };
  /// Places in kFieldNames.
  static constexpr std::size_t kDtype = 0, kShape = 1, kOffsets = 2;
  static constexpr std::array<std::string_view, 3> kFieldNames = {"dtype", "shape", "data_offsets"};

  std::string shown_name() const { return printable(name_); }

  [[noreturn]] void fail_twice(std::string_view key) const {
    fail(origin_, "its header has the key \"{}\" twice", printable(key));
  }

  /// A value where it means nothing.
  [[noreturn]] void refuse(std::string_view value) const {
    switch (level_) {
      case Level::kTop:
        fail(origin_, "its header is not a JSON object");
      case Level::kHeader:
        if (name_ == kMetadataKey) fail(origin_, "{} is not a JSON object", kMetadataKey);
        fail(origin_, "the header entry of tensor \"{}\" is not a JSON object", shown_name());
      case Level::kMetadata:
        fail(origin_, "{} has a value for \"{}\" that is no string", kMetadataKey,
             printable(metadata_key_));
      case Level::kTensor:
        if (field_ == kDtype) fail(origin_, "tensor \"{}\" has no dtype", shown_name());
        fail(origin_, "tensor \"{}\" has no list \"{}\"", shown_name(), kFieldNames[field_]);
      case Level::kList:
        break;
    }
    fail(origin_, "tensor \"{}\" has {} in \"{}\", expected whole numbers from 0", shown_name(),
         value, kFieldNames[field_]);
  }

  void begin_tensor() {
    if (header_.tensors.size() >= kMaxTensors) {
      fail(origin_, "it has more than {} tensors, which no model needs", kMaxTensors);
    }
    header_.tensors.emplace_back().name = name_;
    has_.fill(false);
    offsets_ = 0;
    level_ = Level::kTensor;
  }

  void begin_field(const std::string& name) {
    const auto* const found = std::find(kFieldNames.begin(), kFieldNames.end(), name);
    if (found == kFieldNames.end()) {
      fail(origin_, "tensor \"{}\" has an unknown header field \"{}\"", shown_name(),
           printable(name));
    }
    field_ = static_cast<std::size_t>(found - kFieldNames.begin());
    // JSON leaves open which of two values counts; readers that differ would load different models
    // from one file.
    if (std::exchange(has_[field_], true)) fail_twice(name);
  }

  void add_size(std::uint64_t size) {
    auto& shape = header_.tensors.back().shape;
    if (!std::in_range<std::int64_t>(size)) {
      fail(origin_, "tensor \"{}\" has the impossible size {}", shown_name(), size);
    }
    if (shape.size() >= kMaxDimensions) {
      fail(origin_, "tensor \"{}\" has more than {} dimensions", shown_name(), kMaxDimensions);
    }
    shape.push_back(static_cast<std::int64_t>(size));
  }

  void add_offset(std::uint64_t offset) {
    auto& tensor = header_.tensors.back();
    if (offsets_ == 0) tensor.begin = offset;
    if (offsets_ == 1) tensor.end = offset;
    if (++offsets_ > 2) fail_offsets();
  }

  [[noreturn]] void fail_offsets() const {
    fail(origin_, "tensor \"{}\" has {} data_offsets, expected 2", shown_name(),
         offsets_ > 2 ? "more than 2" : fmt::format("{}", offsets_));
  }

  void finish_tensor() {
    if (!has_[kDtype]) fail(origin_, "tensor \"{}\" has no dtype", shown_name());
    for (const auto field : {kShape, kOffsets}) {
      if (has_[field]) continue;
      fail(origin_, "tensor \"{}\" has no list \"{}\"", shown_name(), kFieldNames[field]);
    }
    if (offsets_ != 2) fail_offsets();
  }

  std::string_view json_;
  const std::string& origin_;
  SafetensorsHeader header_;
  Level level_ = Level::kTop;
  std::string name_, metadata_key_;
  std::size_t field_ = kDtype;
  std::array<bool, kFieldNames.size()> has_{};  ///< Fields of the tensor that is open.
  int offsets_ = 0;                             ///< How many of its offsets.
  bool has_metadata_ = false;
};

/// Offsets in order and inside the file, and as many bytes as shape and dtype need.
void check_range(const TensorInfo& info, std::uint64_t data_bytes, const std::string& origin) {
  const auto name = printable(info.name);
  if (info.begin > info.end) {
    fail(origin, "tensor \"{}\" ends at byte {} before it begins at {}", name, info.end,
         info.begin);
  }
  if (info.end > data_bytes) {
    fail(origin,
         "tensor \"{}\" ends at byte {} of the data, but there are only {}; the file may be "
         "incomplete: fetch it again",
         name, info.end, data_bytes);
  }
  const std::uint64_t element_size = c10::elementSize(info.dtype);
  std::uint64_t bytes = element_size;
  std::uint64_t extent = element_size;  // what the strides need, also when a size is 0
  bool overflow = false;
  for (const auto size : info.shape) {
    const auto count = static_cast<std::uint64_t>(size);
    // May wrap around: `extent` below is at least as large and tells.
    bytes *= count;
    overflow =
        overflow || __builtin_mul_overflow(extent, std::max<std::uint64_t>(count, 1), &extent);
  }
  if (overflow) {
    fail(origin, "tensor \"{}\" has the shape {}, whose size in bytes overflows", name,
         shape_text(info.shape));
  }
  if (bytes != info.end - info.begin) {
    fail(origin, "tensor \"{}\" of dtype {} and shape {} needs {} bytes but has {}", name,
         *dtype_name(info.dtype), shape_text(info.shape), bytes, info.end - info.begin);
  }
}

void check_names(const std::vector<TensorInfo>& tensors, const std::string& origin) {
  std::vector<std::string_view> names;
  for (const auto& info : tensors) names.push_back(info.name);
  // Sorted once: looking each name up among the others is quadratic, and a header may have a
  // million.
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) {
    fail(origin, "its header has the key \"{}\" twice", printable(*twice));
  }
}

/// Sorts by offset; the data then has to be adjacent from 0 to the end of the file.
void check_layout(std::vector<TensorInfo>& tensors, std::uint64_t data_bytes,
                  const std::string& origin) {
  std::sort(tensors.begin(), tensors.end(), [](const TensorInfo& a, const TensorInfo& b) {
    // Empty tensors may share a place; by name, so that the sequence does not depend on the
    // header's.
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  std::uint64_t position = 0;
  const TensorInfo* previous = nullptr;
  for (const auto& info : tensors) {
    if (info.begin < position) {
      fail(origin, "the data of tensors \"{}\" and \"{}\" overlap", printable(previous->name),
           printable(info.name));
    }
    if (info.begin > position) {
      fail(origin, "there is a gap of {} bytes before tensor \"{}\"", info.begin - position,
           printable(info.name));
    }
    position = info.end;
    previous = &info;
  }
  if (position != data_bytes) {
    fail(origin, "{} bytes after the last tensor belong to none; fetch it again",
         data_bytes - position);
  }
}

/// `text` as a JSON string. Throws kUsage when it is not UTF-8.
std::string json_string(const std::string& text) {
  if (!is_utf8(text)) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format("cannot write names or metadata that are not UTF-8 (\"{}\")", printable(text)));
  }
  return Json(text).dump();
}

}  // namespace

std::optional<std::string_view> dtype_name(torch::ScalarType dtype) {
  for (const auto& [name, known] : kDtypes) {
    if (known == dtype) return name;
  }
  return std::nullopt;
}

SafetensorsHeader parse_safetensors_header(std::string_view json, std::uint64_t data_bytes,
                                           const std::string& origin) {
  HeaderEvents events(json, origin);
  Json::sax_parse(json, &events);
  auto header = events.take();
  for (const auto& info : header.tensors) check_range(info, data_bytes, origin);
  check_names(header.tensors, origin);
  check_layout(header.tensors, data_bytes, origin);
  return header;
}

std::string format_safetensors_header(const SafetensorsHeader& header) {
  std::string text = "{";
  const auto begin_entry = [&text](const std::string& key) {
    text += fmt::format("{}{}:", text.size() == 1 ? "" : ",", json_string(key));
  };
  if (!header.metadata.empty()) {
    begin_entry(kMetadataKey);
    text += '{';
    const char* comma = "";
    for (const auto& [key, value] : header.metadata) {
      text +=
          fmt::format("{}{}:{}", std::exchange(comma, ","), json_string(key), json_string(value));
    }
    text += '}';
  }
  for (const auto& info : header.tensors) {
    const auto dtype = dtype_name(info.dtype);
    if (!dtype || info.name == kMetadataKey) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("cannot write tensor \"{}\": safetensors has no such {}",
                              printable(info.name), dtype ? "name" : "dtype"));
    }
    begin_entry(info.name);
    text += fmt::format(R"({{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})", *dtype,
                        fmt::join(info.shape, ","), info.begin, info.end);
  }
  text += '}';
  // Data that begins at a multiple of 8 can be mapped as it is.
  text.resize((text.size() + 7) / 8 * 8, ' ');
  return text;
}

}  // namespace mos::io
