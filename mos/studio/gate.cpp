#include "mos/studio/gate.h"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <netinet/in.h>
#include <sys/random.h>

#include <algorithm>
#include <array>

#include "mos/base/base64.h"
#include "mos/base/text.h"

namespace mos::studio {
namespace {

constexpr const char* kCookie = "mos_studio";

/// Takes as long whatever the texts are.
bool same_secret(const std::string& a, const std::string& b) {
  if (a.size() != b.size()) return false;
  unsigned difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference |= static_cast<unsigned>(a[i]) ^ static_cast<unsigned>(b[i]);
  }
  return difference == 0;
}

/// The password of HTTP Basic's "dXNlcjpwYXNz".
std::string basic_password(std::string_view encoded) {
  const auto text = base64_decode(encoded).value_or("");
  const auto colon = text.find(':');
  return colon == text.npos ? "" : text.substr(colon + 1);
}

std::string cookie_value(std::string_view cookies) {
  const auto wanted = std::string(kCookie) + "=";
  while (!cookies.empty()) {
    const auto end = std::min(cookies.find(';'), cookies.size());
    const auto one = trimmed(cookies.substr(0, end));
    if (one.starts_with(wanted)) return one.substr(wanted.size());
    cookies.remove_prefix(std::min(end + 1, cookies.size()));
  }
  return "";
}

}  // namespace

bool Gate::is_host(const std::string& host) const {
  const auto lowered = lower_ascii(host);
  if (std::ranges::find(options_.hosts, lowered) != options_.hosts.end()) return true;
  if (!options_.any_address) return false;
  const auto end = fmt::format(":{}", options_.port);
  if (!lowered.ends_with(end)) return false;
  // A name can be made to mean this machine, a number cannot.
  const auto name = lowered.substr(0, lowered.size() - end.size());
  const bool v4 = name.find_first_not_of("0123456789.") == name.npos;
  const bool v6 =
      name.starts_with('[') && name.find_first_not_of("0123456789abcdef:[]") == name.npos;
  return !name.empty() && (v4 || v6);
}

bool Gate::is_token(const std::string& text) const { return same_secret(text, options_.token); }

bool Gate::brings_token(const Call& call) const {
  const auto authorization = call.header("authorization");
  constexpr std::string_view kBearer = "Bearer ", kBasic = "Basic ";
  if (authorization.starts_with(kBearer)) return is_token(authorization.substr(kBearer.size()));
  if (authorization.starts_with(kBasic)) {
    return is_token(basic_password(std::string_view(authorization).substr(kBasic.size())));
  }
  return is_token(cookie_value(call.header("cookie")));
}

std::optional<Reply> Gate::refusal(const Call& call) const {
  const auto host = call.header("host");
  if (!is_host(host)) {
    return error_reply(
        403, "usage",
        fmt::format("this server is not \"{}\"; open it as it said at its start", printable(host)));
  }
  const auto origin = call.header("origin");
  const bool foreign = !origin.empty() && lower_ascii(origin) != "http://" + lower_ascii(host);
  const auto site = call.header("sec-fetch-site");
  const bool opens_page = call.method == "GET" && call.path == "/";  // a link from elsewhere
  if (foreign || (!opens_page && (site == "cross-site" || site == "same-site"))) {
    return error_reply(403, "usage", "requests of other web pages are not answered");
  }
  if (!needs_token() || brings_token(call)) return std::nullopt;
  // The page asks for the token by itself; it holds no data.
  const bool is_page = call.method == "GET" && (call.path == "/" || call.path == "/favicon.ico");
  if (is_page || (call.method == "POST" && call.path == "/mos/v1/login")) return std::nullopt;
  auto reply =
      error_reply(401, "usage", "this needs the token that mos studio printed at its start");
  reply.headers["WWW-Authenticate"] = "Bearer";
  return reply;
}

std::string Gate::cookie() const {
  return fmt::format("{}={}; Path=/; HttpOnly; SameSite=Strict", kCookie, options_.token);
}

namespace {

/// As it stands in addresses and in Host: numbers of IPv6 have brackets, and one way of writing.
std::string host_in_address(const std::string& host) {
  const auto number = host.substr(0, host.find('%'));  // browsers know no network cards
  in6_addr parsed{};
  if (inet_pton(AF_INET6, number.c_str(), &parsed) != 1) return lower_ascii(host);
  std::array<char, INET6_ADDRSTRLEN> text{};
  inet_ntop(AF_INET6, &parsed, text.data(), text.size());
  return fmt::format("[{}]", text.data());
}

}  // namespace

GateOptions gate_options(const std::string& host, int port) {
  const auto own = host_in_address(host);
  const std::array<std::string, 3> local = {"127.0.0.1", "localhost", "[::1]"};
  GateOptions gate{.port = port};
  for (const auto& name : local) gate.hosts.push_back(fmt::format("{}:{}", name, port));
  if (std::ranges::find(local, own) == local.end()) {
    gate.hosts.push_back(fmt::format("{}:{}", own, port));
    gate.token = random_token();
  }
  gate.any_address = own == "0.0.0.0" || own == "[::]";
  return gate;
}

std::string address_of(const std::string& host, const GateOptions& gate) {
  const auto name = gate.any_address ? "127.0.0.1" : host_in_address(host);
  const auto token = gate.token.empty() ? "" : "?token=" + gate.token;
  return fmt::format("http://{}:{}/{}", name, gate.port, token);
}

std::string random_token() {
  std::array<unsigned char, 16> bytes{};
  if (getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    throw Error(ErrorKind::kIo, "the system gives no random numbers for a token");
  }
  std::string text;
  for (const auto byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
}

}  // namespace mos::studio
