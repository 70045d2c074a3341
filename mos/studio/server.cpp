#include "mos/studio/server.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <system_error>
#include <thread>
#include <utility>

#include "mos/base/file.h"
#include "mos/base/text.h"
#include "mos/studio/compression.h"
#include "mos/studio/embedded.h"
#include "mos/studio/studio_folder.h"
#include "mos/studio/task_threads.h"

namespace mos::studio {
namespace {

namespace fs = std::filesystem;

/// More than the system lets a process have connections (1,024 files are open at most): whoever
/// hangs on takes nobody else's thread.
constexpr std::size_t kMostThreads = 1024;
constexpr std::size_t kLongestPath = 2048;
constexpr int kBacklog = 512;
constexpr int kPatience = 10;  ///< Seconds for a client that neither sends nor takes.

/// httplib's server, with a longer queue of connections than it was compiled with.
class HttpServer final : public httplib::Server {
 public:
  void widen_queue() { ::listen(svr_sock_, kBacklog); }
};

Call call_of(const httplib::Request& request) {
  // httplib leaves out the body of what HEAD asks for.
  Call call{.method = request.method == "HEAD" ? "GET" : request.method, .path = request.path};
  for (const auto& [name, value] : request.headers) call.headers.emplace(lower_ascii(name), value);
  for (const auto& [name, value] : request.params) call.query.emplace(name, value);
  return call;
}

struct OpenFile {
  explicit OpenFile(const fs::path& path) : descriptor(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~OpenFile() {
    if (descriptor >= 0) close(descriptor);
  }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  int descriptor;
};

/// Sends `reply.file` piece by piece.
void send_file(const Reply& reply, httplib::Response& response) {
  const auto file = std::make_shared<OpenFile>(reply.file);
  std::error_code code;
  const auto size = fs::file_size(reply.file, code);
  if (reply.file_is_temporary) {
    std::error_code ignored;
    fs::remove(reply.file, ignored);
  }
  if (file->descriptor < 0 || code) {
    response.status = 500;
    return response.set_content("the file cannot be read\n", "text/plain");
  }
  if (size == 0) return response.set_content("", reply.type.c_str());
  response.set_content_provider(
      size, reply.type.c_str(),
      [file](std::size_t offset, std::size_t length, httplib::DataSink& sink) {
        std::array<char, 65536> bytes;
        const auto count = pread(file->descriptor, bytes.data(), std::min(bytes.size(), length),
                                 static_cast<off_t>(offset));
        return count > 0 && sink.write(bytes.data(), static_cast<std::size_t>(count));
      });
}

void send_stream(const Reply& reply, httplib::Response& response,
                 const std::shared_ptr<std::atomic<bool>>& stopping) {
  const auto next = reply.stream;
  response.set_chunked_content_provider(reply.type, [next, stopping](std::size_t,
                                                                     httplib::DataSink& sink) {
    if (*stopping || !sink.is_writable()) return false;
    return next([&sink](std::string_view piece) { return sink.write(piece.data(), piece.size()); });
  });
}

/// Headers that hold for everything. Pictures and files of users run nothing, whatever is in them.
void add_headers(const Call& call, httplib::Response& response) {
  response.set_header("X-Content-Type-Options", "nosniff");
  response.set_header("Referrer-Policy", "no-referrer");
  response.set_header("Cross-Origin-Resource-Policy", "same-origin");
  response.set_header("X-Frame-Options", "DENY");
  response.set_header("Content-Security-Policy",
                      call.path == "/"
                          ? "default-src 'self' 'unsafe-inline' data: blob:; frame-ancestors 'none'"
                          : "default-src 'none'; sandbox");
  if (!response.has_header("Cache-Control")) response.set_header("Cache-Control", "no-store");
}

/// A file that the client has as it is now is not sent again.
void tag_file(const Call& call, Reply& reply) {
  struct stat status {};
  if (reply.file_is_temporary || stat(reply.file.c_str(), &status) != 0) return;
  const auto tag = fmt::format("\"{:x}-{:x}-{:x}\"", status.st_size, status.st_mtim.tv_sec,
                               status.st_mtim.tv_nsec);
  reply.headers["ETag"] = tag;
  if (call.header("if-none-match") != tag) return;
  reply.status = 304;
  reply.file.clear();
}

void send(const Call& call, Reply reply, httplib::Response& response,
          const std::shared_ptr<std::atomic<bool>>& stopping) {
  if (!reply.file.empty()) tag_file(call, reply);
  response.status = reply.status;
  for (const auto& [name, value] : reply.headers) response.set_header(name, value);
  add_headers(call, response);
  if (reply.stream) return send_stream(reply, response, stopping);
  if (!reply.file.empty()) return send_file(reply, response);
  response.set_content(reply.body, reply.type.c_str());
}

std::string absence_page() {
  return fmt::format(
      "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>mos studio</title>"
      "<h1>mos studio</h1><p>The interface was left out of this build: {}.</p><p>The API works all "
      "the same: <a href=\"/mos/v1/openapi.json\">/mos/v1/openapi.json</a>, described in "
      "docs/api.md.</p></html>\n",
      interface_absence());
}

/// The page as it is sent to those who take nothing compressed is another text to caches.
std::string plain_tag(std::string_view tag) {
  return fmt::format("\"plain-{}", tag.substr(std::min<std::size_t>(1, tag.size())));
}

Reply page(const Call& call, const std::string& ui_folder) {
  if (!ui_folder.empty()) {
    return {.type = "text/html; charset=utf-8", .file = fs::path(ui_folder) / "index.html"};
  }
  Reply reply{.type = "text/html; charset=utf-8"};
  if (interface_page().empty()) {
    reply.body = absence_page();
    return reply;
  }
  reply.headers["Cache-Control"] = "no-cache";
  reply.headers["Vary"] = "Accept-Encoding";
  const bool compressed = accepts_gzip(call.header("accept-encoding"));
  const auto tag = compressed ? std::string(interface_tag()) : plain_tag(interface_tag());
  reply.headers["ETag"] = tag;
  if (call.header("if-none-match") == tag) {
    reply.status = 304;
    return reply;
  }
  if (compressed) reply.headers["Content-Encoding"] = "gzip";
  reply.body = compressed ? std::string(interface_page()) : gunzip(interface_page());
  return reply;
}

/// What httplib refuses by itself, before there is a request to be answered, gets a sentence too.
void explain_refusal(httplib::Response& response) {
  if (!response.body.empty()) return;
  const auto* sentence = response.status == 414 ? "the address is too long"
                         : response.status == 400
                             ? "this is no request that HTTP knows: its method "
                               "or one of its headers is broken"
                             : "this request cannot be answered";
  add_headers({}, response);
  response.set_content(error_reply(response.status, "usage", sentence).body, "application/json");
}

/// By itself it lets several servers have one port (SO_REUSEPORT), each with a share of the
/// connections. A port that a server has left shortly before is free.
void set_socket_options(socket_t socket) {
  const int yes = 1;
  setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
}

/// The page with its token in the address: into the cookie with it, and out of the address.
std::optional<Reply> token_of_address(const Gate& gate, const Call& call) {
  const auto token = call.query.find("token");
  if (token == call.query.end() || !gate.needs_token() || !gate.is_token(token->second)) {
    return std::nullopt;
  }
  Reply reply{.status = 303, .type = "text/plain"};
  reply.headers = {{"Location", "/"}, {"Set-Cookie", gate.cookie()}};
  return reply;
}

}  // namespace

struct Server::Parts {
  ServerOptions options;
  HttpServer http;
  int port = 0;
  std::atomic<bool> serving = false;
  std::shared_ptr<std::atomic<bool>> stopping = std::make_shared<std::atomic<bool>>(false);

  Reply answer(const Gate& gate, const Router& router, Call call) const {
    if (call.path.size() > kLongestPath) return error_reply(414, "usage", "the path is too long");
    if (auto refusal = gate.refusal(call)) return std::move(*refusal);
    if (lower_ascii(call.header("content-type")).starts_with("multipart/")) {
      return error_reply(415, "usage", "send one file as it is, not a form");
    }
    if (call.path != "/" || call.method != "GET") return router.answer(std::move(call));
    if (auto reply = token_of_address(gate, call)) return std::move(*reply);
    return page(call, options.ui_folder);
  }
};

Server::Server(ServerOptions options) : parts_(std::make_unique<Parts>()) {
  parts_->options = std::move(options);
  auto& http = parts_->http;
  const auto& host = parts_->options.host;
  http.new_task_queue = [] { return new TaskThreads(kMostThreads); };
  http.set_socket_options(set_socket_options);
  http.set_keep_alive_max_count(1);
  http.set_read_timeout(kPatience);
  http.set_write_timeout(kPatience);
  http.set_payload_max_length(static_cast<std::size_t>(kMostConceptBytes));
  const auto wanted = parts_->options.port;
  const bool bound = wanted == 0 ? (parts_->port = http.bind_to_any_port(host)) > 0
                                 : http.bind_to_port(host, wanted);
  if (wanted != 0) parts_->port = wanted;
  if (!bound) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format("cannot listen on port {} of {}: it is taken by another program, perhaps "
                    "another mos studio, or the address is not of this machine; --port 0 takes a "
                    "free port",
                    wanted, host));
  }
  http.widen_queue();
}

Server::~Server() = default;

int Server::port() const { return parts_->port; }

void Server::serve(const Gate& gate, const Router& router) {
  auto& http = parts_->http;
  const auto reply_to = [this, &gate, &router](const httplib::Request& request,
                                               httplib::Response& response,
                                               const httplib::ContentReader* reader) {
    auto call = call_of(request);
    // httplib would compress what it likes, also what is compressed already.
    const_cast<httplib::Request&>(request).headers.erase("Accept-Encoding");
    if (reader != nullptr) {
      call.read_body = [reader](const Receiver& receiver) {
        return (*reader)([&receiver](const char* bytes, std::size_t count) {
          return receiver({bytes, count});
        });
      };
    }
    auto reply = parts_->answer(gate, router, call);
    send(call, std::move(reply), response, parts_->stopping);
  };
  const auto plain = [reply_to](const httplib::Request& request, httplib::Response& response) {
    // Parts of files are asked for by nobody here, and lists of them cost much.
    const_cast<httplib::Request&>(request).ranges.clear();
    reply_to(request, response, nullptr);
  };
  const auto with_body = [reply_to](const httplib::Request& request, httplib::Response& response,
                                    const httplib::ContentReader& reader) {
    reply_to(request, response, &reader);
  };
  // The table of routes is ours: httplib's are regular expressions.
  const std::string all = "[^]*";
  http.Get(all, plain);
  http.Options(all, plain);
  http.Post(all, with_body);
  http.Put(all, with_body);
  http.Patch(all, with_body);
  http.Delete(all, with_body);
  http.set_exception_handler(
      [](const httplib::Request&, httplib::Response& response, auto&&) { response.status = 500; });
  http.set_error_handler(
      [](const httplib::Request&, httplib::Response& response) { explain_refusal(response); });
  parts_->serving = true;
  if (!*parts_->stopping) http.listen_after_bind();
  parts_->serving = false;
}

void Server::stop() {
  *parts_->stopping = true;
  // httplib does not hear it before it listens.
  while (parts_->serving && !parts_->http.is_running()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  parts_->http.stop();
}

}  // namespace mos::studio
