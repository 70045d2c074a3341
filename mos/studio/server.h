#pragma once

#include <functional>
#include <memory>
#include <string>

#include "mos/studio/gate.h"
#include "mos/studio/router.h"

/// HTTP on a socket: what stands between clients and the table of routes.
namespace mos::studio {

struct ServerOptions {
  std::string host = "127.0.0.1";
  int port = 7860;        ///< 0: any that is free.
  std::string ui_folder;  ///< Serves the page from here instead; empty: the one that is built in.
};

class Server {
 public:
  /// Opens the port. Throws kUsage where somebody else has it.
  explicit Server(ServerOptions options);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  int port() const;
  /// Answers until stop(); `gate` and `router` outlive it. One thread for each connection, which is
  /// closed after its answer: nothing that was not read of a request is ever taken for the next.
  void serve(const Gate& gate, const Router& router);
  /// From any thread.
  void stop();

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace mos::studio
