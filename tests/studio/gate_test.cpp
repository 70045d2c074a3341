#include "mos/studio/gate.h"

#include <gtest/gtest.h>

#include "mos/base/base64.h"

namespace mos::studio {
namespace {

Call call_to(const std::string& host, std::map<std::string, std::string> headers = {}) {
  headers["host"] = host;
  return {.method = "POST", .path = "/mos/v1/jobs", .headers = std::move(headers)};
}

int status_of(const Gate& gate, const Call& call) {
  const auto refusal = gate.refusal(call);
  return refusal ? refusal->status : 200;
}

const Gate kLocal({.hosts = {"127.0.0.1:7860", "localhost:7860"}, .port = 7860});

TEST(Gate, OwnNamesAreAnsweredAndOthersAreNot) {
  EXPECT_EQ(status_of(kLocal, call_to("localhost:7860")), 200);
  EXPECT_EQ(status_of(kLocal, call_to("LOCALHOST:7860")), 200);
  for (const char* host : {"evil.example:7860", "localhost:7861", "localhost", "", "127.0.0.2:7860",
                           "localhost:7860.evil.example"}) {
    EXPECT_EQ(status_of(kLocal, call_to(host)), 403) << host;
  }
}

TEST(Gate, RequestsOfOtherPagesAreRefused) {
  EXPECT_EQ(status_of(kLocal, call_to("localhost:7860", {{"origin", "http://localhost:7860"}})),
            200);
  for (const char* origin : {"http://evil.example", "null", "https://localhost:7860",
                             "http://localhost:7861", "http://127.0.0.1:7860"}) {
    EXPECT_EQ(status_of(kLocal, call_to("localhost:7860", {{"origin", origin}})), 403) << origin;
  }
  EXPECT_EQ(status_of(kLocal, call_to("localhost:7860", {{"sec-fetch-site", "cross-site"}})), 403);
  EXPECT_EQ(status_of(kLocal, call_to("localhost:7860", {{"sec-fetch-site", "same-site"}})), 403);
}

TEST(Gate, TheTokenComesInThreeWaysAndNoOther) {
  const Gate gate({.hosts = {"10.0.0.1:7860"}, .port = 7860, .token = "secret"});
  const std::string host = "10.0.0.1:7860";
  EXPECT_EQ(status_of(gate, call_to(host)), 401);
  EXPECT_EQ(status_of(gate, call_to(host, {{"authorization", "Bearer secret"}})), 200);
  EXPECT_EQ(status_of(gate, call_to(host, {{"authorization", "Bearer secre"}})), 401);
  EXPECT_EQ(status_of(gate, call_to(host, {{"authorization", "Bearer "}})), 401);
  const auto basic = "Basic " + base64_encode("anybody:secret");
  EXPECT_EQ(status_of(gate, call_to(host, {{"authorization", basic}})), 200);
  EXPECT_EQ(status_of(gate, call_to(host, {{"cookie", "a=b; mos_studio=secret"}})), 200);
  EXPECT_EQ(status_of(gate, call_to(host, {{"cookie", "mos_studio="}})), 401);
}

TEST(Gate, AServerForAllAddressesKnowsNumbersButNoNames) {
  const Gate gate({.port = 7860, .any_address = true, .token = "t"});
  const std::map<std::string, std::string> token = {{"authorization", "Bearer t"}};
  EXPECT_EQ(status_of(gate, call_to("192.168.1.5:7860", token)), 200);
  EXPECT_EQ(status_of(gate, call_to("[fe80::1]:7860", token)), 200);
  EXPECT_EQ(status_of(gate, call_to("evil.example:7860", token)), 403);
  EXPECT_EQ(status_of(gate, call_to(":7860", token)), 403);
}

TEST(Gate, AddressesOfIPv6StandInBrackets) {
  const auto local = gate_options("::1", 7860);
  EXPECT_TRUE(local.token.empty());
  EXPECT_EQ(address_of("::1", local), "http://[::1]:7860/");
  EXPECT_EQ(address_of("0:0:0:0:0:0:0:1", gate_options("0:0:0:0:0:0:0:1", 80)), "http://[::1]:80/");
  auto options = gate_options("2001:DB8::0:5", 7860);
  options.token = "t";
  EXPECT_EQ(address_of("2001:DB8::0:5", options), "http://[2001:db8::5]:7860/?token=t");
  const Gate gate(options);
  const auto call = call_to("[2001:db8::5]:7860", {{"authorization", "Bearer t"},
                                                   {"origin", "http://[2001:db8::5]:7860"}});
  EXPECT_EQ(status_of(gate, call), 200);
  EXPECT_EQ(status_of(gate, call_to("2001:db8::5:7860", {{"authorization", "Bearer t"}})), 403);
  EXPECT_TRUE(gate_options("::", 7860).any_address);
  EXPECT_FALSE(gate_options("fe80::1%eth0", 7860).token.empty());
  EXPECT_EQ(address_of("fe80::1%eth0", GateOptions{.port = 80}), "http://[fe80::1]:80/");
}

TEST(Gate, OnlyThisMachineItselfNeedsNoToken) {
  for (const char* host : {"127.0.0.1", "localhost", "::1"}) {
    EXPECT_TRUE(gate_options(host, 7860).token.empty()) << host;
  }
  for (const char* host : {"0.0.0.0", "::", "192.168.1.5", "Studio.example"}) {
    EXPECT_FALSE(gate_options(host, 7860).token.empty()) << host;
  }
  EXPECT_EQ(gate_options("Studio.example", 7860).hosts.back(), "studio.example:7860");
}

TEST(Base64, ComesBackForEveryLength) {
  std::string bytes;
  for (int i = 0; i < 40; ++i) {
    EXPECT_EQ(base64_decode(base64_encode(bytes)), bytes);
    bytes += static_cast<char>(i * 37);
  }
  EXPECT_EQ(base64_encode("Man"), "TWFu");
  EXPECT_EQ(base64_encode("Ma"), "TWE=");
  EXPECT_EQ(base64_decode("T*"), std::nullopt);
}

}  // namespace
}  // namespace mos::studio
