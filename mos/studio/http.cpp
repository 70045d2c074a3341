#include "mos/studio/http.h"

#include <fmt/core.h>

#include <algorithm>
#include <fstream>

#include "mos/base/text.h"
#include "mos/base/text_distance.h"

namespace mos::studio {

std::string Call::header(const std::string& wanted) const {
  const auto found = headers.find(wanted);
  return found == headers.end() ? "" : found->second;
}

std::int64_t Call::id() const {
  const auto number = number_in<std::int64_t>(name("id"));
  if (!number || *number < 1) throw Refused(404, "there is nothing with the id " + name("id"));
  return *number;
}

std::int64_t Call::number(const std::string& query_name, std::int64_t fallback, std::int64_t least,
                          std::int64_t most) const {
  const auto found = query.find(query_name);
  if (found == query.end()) return fallback;
  const auto value = number_in<std::int64_t>(found->second);
  if (!value || *value < least || *value > most) {
    throw Refused(400, fmt::format("{} is \"{}\", expected a whole number from {} to {}",
                                   query_name, printable(found->second), least, most));
  }
  return *value;
}

Reply json_reply(const Json& json, int status) {
  return {.status = status, .body = json_text(json) + "\n"};
}

Reply done_reply() { return json_reply({{"done", true}}); }

Reply error_reply(int status, const std::string& kind, const std::string& message) {
  return json_reply({{"error", {{"kind", kind}, {"message", message}}}}, status);
}

Reply present_error_reply() {
  try {
    throw;
  } catch (const Refused& refused) {
    return error_reply(refused.status(), "usage", refused.what());
  } catch (const Error& error) {
    switch (error.kind()) {
      case ErrorKind::kUsage:
        return error_reply(400, "usage", error.what());
      case ErrorKind::kFormat:
        return error_reply(422, "format", error.what());
      case ErrorKind::kMismatch:
        return error_reply(422, "mismatch", error.what());
      case ErrorKind::kDevice:
        return error_reply(503, "device", error.what());
      case ErrorKind::kIo:
      case ErrorKind::kCancelled:
        break;
    }
    return error_reply(500, "io", error.what());
  } catch (const std::bad_alloc&) {
    return error_reply(503, "device", "there is not enough memory for this");
  } catch (const std::exception& error) {
    return error_reply(500, "internal", error.what());
  }
}

namespace {

Refused too_large(std::int64_t most) {
  return {413, fmt::format("the body has more than {} bytes", most)};
}

/// Whether a body follows, by what the headers say of its length. Without a word of it there is
/// none (RFC 9112, 6.3); a length that is none is refused before anything is waited for.
bool announces_body(const Call& call, std::int64_t most) {
  const auto length = call.header("content-length"), coding = call.header("transfer-encoding");
  if (!coding.empty()) {
    if (length.empty() && lower_ascii(trimmed(coding)) == "chunked") return true;
    throw Refused(400,
                  "the body comes in pieces (Transfer-Encoding: chunked) or with its length "
                  "(Content-Length), and in no other way");
  }
  if (length.empty()) return false;
  if (length.find_first_not_of("0123456789") != length.npos) {
    throw Refused(400, fmt::format("Content-Length is \"{}\", expected a whole number from 0",
                                   printable(length)));
  }
  const auto bytes = number_in<std::int64_t>(length);  // nothing: beyond all numbers
  if (!bytes || *bytes > most) throw too_large(most);
  return *bytes > 0;
}

void receive(const Call& call, std::int64_t most, const Receiver& receiver) {
  if (!announces_body(call, most) || !call.read_body) return;
  std::int64_t received = 0;
  bool kept = true;
  const bool whole = call.read_body([&](std::string_view piece) {
    received += static_cast<std::int64_t>(piece.size());
    if (received > most) return false;
    kept = receiver(piece);
    return kept;
  });
  if (received > most) throw too_large(most);
  if (!whole && kept) throw Refused(400, "the body breaks off");
}

}  // namespace

std::string read_body(const Call& call, std::int64_t most) {
  std::string body;
  receive(call, most, [&body](std::string_view piece) {
    body += piece;
    return true;
  });
  return body;
}

Json json_body(const Call& call, std::int64_t most) {
  const auto type = lower_ascii(call.header("content-type"));
  const auto body = read_body(call, most);
  if (trimmed(body).empty()) return Json::object();
  // A form of another page can send any text, but not with this type.
  if (trimmed(type.substr(0, type.find(';'))) != "application/json") {
    throw Refused(415, "the body must be application/json");
  }
  Json json;
  try {
    json = parse_json(body, "the body");
  } catch (const Error& error) {
    throw Refused(400, error.what());
  }
  if (!json.is_object()) throw Refused(400, "the body must hold a JSON object");
  return json;
}

void body_to_file(const Call& call, const std::filesystem::path& to, std::int64_t most) {
  std::ofstream file(to, std::ios::binary | std::ios::trunc);
  receive(call, most, [&file](std::string_view piece) {
    file.write(piece.data(), static_cast<std::streamsize>(piece.size()));
    return file.good();
  });
  file.close();
  if (!file) throw Error(ErrorKind::kIo, "cannot write " + to.string());
}

void refuse_unknown_keys(const Json& object, const std::vector<std::string>& known) {
  for (const auto& [key, value] : object.items()) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    throw Refused(400, fmt::format("the body has an unknown key \"{}\"{}", printable(key),
                                   did_you_mean(key, known)));
  }
}

}  // namespace mos::studio
