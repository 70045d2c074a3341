#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "mos/base/error.h"
#include "mos/base/json.h"

/// Requests and answers as handlers see them, apart from the library that carries them (server.h):
/// tests and the fuzzer call handlers without a socket.
namespace mos::studio {

/// A request that is answered with this status of HTTP and a sentence.
class Refused : public Error {
 public:
  Refused(int status, const std::string& message)
      : Error(ErrorKind::kUsage, message), status_(status) {}
  int status() const { return status_; }

 private:
  int status_;
};

/// Gets the body piece by piece; false stops the reading.
using Receiver = std::function<bool(std::string_view piece)>;

struct Call {
  std::string method;
  std::string path;                            ///< Decoded, without the query.
  std::map<std::string, std::string> headers;  ///< Names in lower case.
  std::map<std::string, std::string> query;    ///< Decoded; of several alike the first.
  /// Reads the body, once; false when it breaks off. Empty: there is none.
  std::function<bool(const Receiver&)> read_body;
  std::map<std::string, std::string> names;  ///< What stands for {name} in the route.

  /// The value, or "".
  std::string header(const std::string& name) const;
  /// The part of the path that stands for {name}.
  const std::string& name(const std::string& of) const { return names.at(of); }
  /// The same as a number from 1. Throws Refused(404) where it is none.
  std::int64_t id() const;
  /// Throws Refused(400) for what is no whole number in least…most.
  std::int64_t number(const std::string& query_name, std::int64_t fallback, std::int64_t least,
                      std::int64_t most) const;
};

/// Sends a piece to the client; false when nobody is there any more.
using Sender = std::function<bool(std::string_view piece)>;

struct Reply {
  int status = 200;
  std::string type = "application/json";
  std::string body;
  std::map<std::string, std::string> headers;
  std::filesystem::path file;      ///< Sent instead of `body`, unless it is empty.
  bool file_is_temporary = false;  ///< Taken away when it was opened.
  /// Called again and again until it returns false; instead of `body`. With nothing to send it
  /// waits a second at most and sends nothing.
  std::function<bool(const Sender&)> stream;
};

Reply json_reply(const Json& json, int status = 200);
/// {"done": true}
Reply done_reply();
/// {"error": {"kind", "message"}}
Reply error_reply(int status, const std::string& kind, const std::string& message);
/// Of the exception that is being handled.
Reply present_error_reply();

inline constexpr std::int64_t kMostJsonBytes = 1 << 20;
inline constexpr std::int64_t kMostPictureBytes = 64 << 20;
inline constexpr std::int64_t kMostConceptBytes = std::int64_t{4} << 30;
inline constexpr int kMostStreams = 128;

/// Throws Refused: 413 for more than `most` bytes, 400 when it breaks off.
std::string read_body(const Call& call, std::int64_t most);
/// The body as an object; no body is an empty one. Throws Refused: 400, 413, 415.
Json json_body(const Call& call, std::int64_t most = kMostJsonBytes);
/// Streams the body into the file `to`, which is new. Throws as read_body does, and kIo.
void body_to_file(const Call& call, const std::filesystem::path& to, std::int64_t most);

/// Throws Refused(400) naming the first key of `object` that is none of `known`.
void refuse_unknown_keys(const Json& object, const std::vector<std::string>& known);
/// json_value(), with a failure as Refused(400).
template <typename T>
T field(const Json& object, const std::string& key, T fallback) {
  try {
    return json_value<T>(object, key, std::move(fallback));
  } catch (const Error& error) {
    throw Refused(400, error.what());
  }
}

}  // namespace mos::studio
