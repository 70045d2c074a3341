#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <mutex>
#include <string>

#include "mos/base/json.h"

/// Pictures and concept files are opened by the readers of mos alone, in a process of their own
/// (`mos pictures --requests`) that is started when there is something to read and ends by itself
/// when there is not: what a hostile file does to it does not reach the studio.
namespace mos::studio {

class Reader {
 public:
  Reader(std::filesystem::path mos, std::filesystem::path folder);
  ~Reader();
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  /// Asks {"do": …} (jobs/picture_requests.h has what there is); several threads take turns.
  /// Throws what the reader says as Error of its kind, kIo where it ends or takes longer than
  /// `patience`.
  Json ask(const Json& request, std::chrono::seconds patience = std::chrono::minutes(1));

 private:
  void start();
  void end();
  std::string exchange(const std::string& line, std::chrono::seconds patience);

  std::filesystem::path mos_, folder_;
  std::mutex mutex_;
  pid_t process_ = 0;
  int to_ = -1, from_ = -1;
};

}  // namespace mos::studio
