#include "mos/base/json.h"

#include <fmt/core.h>

#include <utility>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/base/json_builder.h"
#include "mos/base/json_mistake.h"
#include "mos/base/text.h"

namespace mos {

namespace {

/// The events of the library's parser for a JsonBuilder. The library's own way looks every key up
/// among all before it, takes the last of two equal keys, and has no bounds.
class SaxEvents : public nlohmann::json_sax<Json> {
 public:
  SaxEvents(std::string_view text, const std::string& origin)
      : text_(text), origin_(origin), builder_(origin) {}

  Json take() { return builder_.take(); }

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(std::int64_t value) override { return add(value); }
  bool number_unsigned(std::uint64_t value) override { return add(value); }
  bool number_float(double value, const std::string& /*text*/) override { return add(value); }
  bool string(std::string& value) override { return add(std::move(value)); }
  bool binary(Json::binary_t& /*value*/) override { return false; }

  bool start_object(std::size_t /*unknown*/) override {
    builder_.open_object();
    return true;
  }
  bool start_array(std::size_t /*unknown*/) override {
    builder_.open_array();
    return true;
  }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(std::string& name) override {
    builder_.key(std::move(name));
    return true;
  }

  bool parse_error(std::size_t read, const std::string& /*token*/,
                   const nlohmann::json::exception& error) override {
    throw Error(ErrorKind::kFormat, fmt::format("{} is not valid JSON: {}", origin_,
                                                json_mistake(text_, read, error.what())));
  }

 private:
  bool add(Json value) {
    builder_.add(std::move(value));
    return true;
  }
  bool close() {
    builder_.close();
    return true;
  }

  std::string_view text_;
  const std::string& origin_;
  JsonBuilder builder_;
};

}  // namespace

Json parse_json(std::string_view text, const std::string& origin) {
  SaxEvents events(text, origin);
  Json::sax_parse(text, &events);
  return events.take();
}

Json read_json_file(const std::filesystem::path& path) {
  return parse_json(read_text_file(path), path.string());
}

std::string json_text(const Json& json, int indent) {
  return json.dump(indent, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}

std::string quoted(const Json& json) { return printable(json_text(json)); }

void throw_json_type_error(const std::string& key, const Json& value, const std::string& expected) {
  throw Error(ErrorKind::kFormat,
              fmt::format("\"{}\" is {}, expected {}", printable(key), quoted(value), expected));
}

void throw_json_missing(const std::string& key) {
  throw Error(ErrorKind::kFormat, fmt::format("\"{}\" is missing or null", key));
}

}  // namespace mos
