#pragma once

#include <optional>
#include <string>
#include <vector>

#include "mos/studio/http.h"

/// Who may ask. Web pages of others reach a server on this machine in three ways: their scripts and
/// forms send requests here (the Origin says so), a name of theirs is made to mean 127.0.0.1 (the
/// Host says so), and other machines may simply connect (the token).
namespace mos::studio {

struct GateOptions {
  std::vector<std::string> hosts;  ///< "localhost:7860": what Host may say.
  /// Any Host that is a number of the network, for a server that listens on all addresses.
  int port = 0;
  bool any_address = false;
  std::string token;  ///< Empty: none is asked for.
};

class Gate {
 public:
  explicit Gate(GateOptions options) : options_(std::move(options)) {}

  /// The refusal of `call`, or nothing.
  std::optional<Reply> refusal(const Call& call) const;

  bool needs_token() const { return !options_.token.empty(); }
  bool is_token(const std::string& text) const;
  /// The cookie that stands for the token.
  std::string cookie() const;

 private:
  bool is_host(const std::string& host) const;
  bool brings_token(const Call& call) const;

  GateOptions options_;
};

/// Of a server that listens on the address or name `host`: with a token unless that is this machine
/// alone.
GateOptions gate_options(const std::string& host, int port);
/// Where the page of such a server is, "http://[::1]:7860/".
std::string address_of(const std::string& host, const GateOptions& gate);

/// 32 random hexadecimal digits of the system.
std::string random_token();

}  // namespace mos::studio
