#include "mos/studio/reader.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include "mos/base/error_names.h"

namespace mos::studio {
namespace {

constexpr std::size_t kLongestAnswer = 16 << 20;

Json answer_of(const std::string& text) {
  auto answer = parse_json(text, "the answer of the reader");
  if (answer.is_object()) return answer;
  throw Error(ErrorKind::kFormat, "the answer of the reader is no object");
}

}  // namespace

Reader::Reader(std::filesystem::path mos, std::filesystem::path folder)
    : mos_(std::move(mos)), folder_(std::move(folder)) {}

Reader::~Reader() { end(); }

void Reader::start() {
  std::array<int, 2> ends{};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    throw Error(ErrorKind::kIo, fmt::format("cannot start a reader: {}", std::strerror(errno)));
  }
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], STDIN_FILENO);
    dup2(ends[1], STDOUT_FILENO);
    close_range(STDERR_FILENO + 1, ~0U, 0);  // connections of clients among them
    for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGPIPE}) signal(number, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    if (chdir(folder_.c_str()) == 0) {
      execl(mos_.c_str(), mos_.c_str(), "pictures", "--requests", nullptr);
    }
    _exit(127);
  }
  close(ends[1]);
  process_ = child;
  to_ = from_ = ends[0];
}

void Reader::end() {
  if (process_ <= 0) return;
  close(to_);
  kill(process_, SIGKILL);
  while (waitpid(process_, nullptr, 0) < 0 && errno == EINTR) continue;
  process_ = 0;
  to_ = from_ = -1;
}

/// The line of the answer; empty when the reader is not there any more.
std::string Reader::exchange(const std::string& line, std::chrono::seconds patience) {
  for (std::size_t sent = 0; sent < line.size();) {
    const auto count = send(to_, line.data() + sent, line.size() - sent, MSG_NOSIGNAL);
    if (count <= 0) return "";
    sent += static_cast<std::size_t>(count);
  }
  std::string answer;
  const auto until = std::chrono::steady_clock::now() + patience;
  while (!answer.ends_with('\n') && answer.size() < kLongestAnswer) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        until - std::chrono::steady_clock::now());
    pollfd waited{from_, POLLIN, 0};
    if (left.count() <= 0 || poll(&waited, 1, static_cast<int>(left.count())) <= 0) {
      throw Error(ErrorKind::kIo,
                  fmt::format("reading this took more than {} seconds", patience.count()));
    }
    std::array<char, 65536> bytes;
    const auto count = recv(from_, bytes.data(), bytes.size(), 0);
    if (count <= 0) return "";
    answer.append(bytes.data(), static_cast<std::size_t>(count));
  }
  if (answer.ends_with('\n')) return answer;
  throw Error(ErrorKind::kFormat,
              fmt::format("there is more than {} MB to say of it", kLongestAnswer >> 20));
}

Json Reader::ask(const Json& request, std::chrono::seconds patience) {
  const std::lock_guard lock(mutex_);
  const auto line = json_text(request) + "\n";
  std::string text;
  Json answer;
  // One that has ended for want of work is only noticed here; one that ends twice does so for this.
  for (int attempt = 0; attempt < 2 && text.empty(); ++attempt) {
    if (process_ <= 0) start();
    try {
      text = exchange(line, patience);
      if (!text.empty()) answer = answer_of(text);
    } catch (...) {  // what it still says would be taken for the next answer
      end();
      throw;
    }
    if (text.empty()) end();
  }
  if (text.empty()) throw Error(ErrorKind::kFormat, "the reader of files ended over this one");
  if (!answer.contains("error")) return answer;
  const auto& error = answer.at("error");
  throw Error(choice_named<ErrorKind>(error.value("kind", "io")).value_or(ErrorKind::kIo),
              error.value("message", "it cannot be read"));
}

}  // namespace mos::studio
