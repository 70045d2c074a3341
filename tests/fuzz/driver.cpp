#include <fcntl.h>
#include <fmt/core.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <set>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/base/log.h"
#include "mos/base/runtime.h"
#include "mos/base/text.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/mutation.h"

#if defined(MOS_SANITIZED)
#include <sanitizer/common_interface_defs.h>

/// Read by AddressSanitizer at its start. An input may not take more memory than a picture of
/// io::kMaxPixels and a copy of it.
extern "C" const char* __asan_default_options() {
  return "detect_leaks=0:hard_rss_limit_mb=4000:max_allocation_size_mb=2000:"
         "allocator_may_return_null=0";
}
extern "C" const char* __ubsan_default_options() { return "print_stacktrace=1:halt_on_error=1"; }
#endif

namespace mos::fuzz {
namespace {

namespace fs = std::filesystem;
using std::chrono::steady_clock;

constexpr unsigned kSecondsForAnInput = 30;  // of a sanitizer's build on a busy machine
constexpr std::size_t kLargestPool = 3000;
constexpr std::size_t kMostFindings = 20;  // of one target, then the rest is no news

/// The input that runs, for those who are called when the process dies: they reach nothing else.
struct Running {
  char path[4096] = {};
  const char* data = nullptr;
  std::size_t size = 0;
};
Running g_running;

/// Async-signal-safe.
void save_running() {
  const int file = ::open(g_running.path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (file < 0) return;
  const auto written = ::write(file, g_running.data, g_running.size);
  ::close(file);
  constexpr std::string_view kSaid = "fuzz: the input is in ";
  (void)(written + ::write(STDERR_FILENO, kSaid.data(), kSaid.size()) +
         ::write(STDERR_FILENO, g_running.path, std::strlen(g_running.path)) +
         ::write(STDERR_FILENO, "\n", 1));
}

void die_of_signal(int number) {
  constexpr std::string_view kSlow = "fuzz: an input took too long\n";
  if (number == SIGALRM) (void)!::write(STDERR_FILENO, kSlow.data(), kSlow.size());
  save_running();
  ::_exit(1);
}

void save_input_of_a_crash() {
#if defined(MOS_SANITIZED)
  __sanitizer_set_death_callback(save_running);
#else
  static char stack[1 << 16];  // a stack overflow leaves none
  const stack_t alternate{.ss_sp = stack, .ss_flags = 0, .ss_size = sizeof(stack)};
  ::sigaltstack(&alternate, nullptr);
  struct sigaction action {};
  action.sa_handler = die_of_signal;
  action.sa_flags = SA_ONSTACK;
  for (const int number : {SIGSEGV, SIGBUS, SIGFPE, SIGABRT}) {
    ::sigaction(number, &action, nullptr);
  }
#endif
  ::signal(SIGALRM, die_of_signal);
}

struct Options {
  double seconds = 0.0;      ///< Of mutations of each target; 0: the count below.
  std::size_t inputs = 300;  ///< Mutations of each target.
  std::uint64_t seed = 1;
  fs::path corpus, findings = "fuzz-findings";
  std::vector<std::string> targets;
  std::vector<fs::path> files;  ///< Only these, as they are.
};

/// What a message says, without what it quotes: inputs with a new one are kept to be mutated on.
std::string skeleton(const std::string& message) {
  std::string text;
  bool in_quotes = false;
  for (const char c : message) {
    if (c == '"') in_quotes = !in_quotes;
    if (!in_quotes && (std::isalpha(static_cast<unsigned char>(c)) != 0 || c == ' ')) text += c;
    if (text.size() >= 100) break;
  }
  return text;
}

/// One target and its inputs.
class Session {
 public:
  Session(const Target& target, const Options& options)
      : target_(target), options_(options), mutation_(options.seed, target.words) {}

  /// The number of findings.
  std::size_t run() {
    begin();
    const auto given = pool_;  // which may grow meanwhile
    for (const auto& input : given) try_input(input);
    std::size_t count = 0;
    const auto deadline = steady_clock::now() + std::chrono::duration<double>(options_.seconds);
    while (findings_.size() < kMostFindings &&
           (options_.seconds > 0.0 ? steady_clock::now() < deadline : count < options_.inputs)) {
      auto input = mutation_.next(pool_);
      if (target_.repair != nullptr && mutation_.below(4) != 0) input = target_.repair(input);
      try_input(input);
      ++count;
    }
    fmt::print("{:<14} {:>9} inputs, {} kept, {} findings\n", target_.name, count + pool_.size(),
               pool_.size(), findings_.size());
    std::fflush(stdout);
    return findings_.size();
  }

  void run_file(const fs::path& path) {
    begin();
    try_input(read_text_file(path));
  }

  std::size_t findings() const { return findings_.size(); }

 private:
  void begin() {
    fs::create_directories(options_.findings);
    pool_ = target_.seeds();
    const auto folder = options_.corpus / target_.name;
    std::vector<fs::path> files;
    if (!options_.corpus.empty() && fs::is_directory(folder)) {
      for (const auto& entry : fs::directory_iterator(folder)) files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    for (const auto& file : files) pool_.push_back(read_text_file(file));
    const auto crash = (options_.findings / fmt::format("{}-crash", target_.name)).string();
    crash.copy(g_running.path, sizeof(g_running.path) - 1);
    g_running.path[std::min(crash.size(), sizeof(g_running.path) - 1)] = '\0';
  }

  /// Inputs that lead to something new are kept.
  void try_input(const std::string& input) {
    g_running.data = input.data();
    g_running.size = input.size();
    ::alarm(kSecondsForAnInput);
    const auto outcome = outcome_of(input);
    ::alarm(0);
    if (!seen_.insert(outcome).second || pool_.size() >= kLargestPool) return;
    if (std::find(pool_.begin(), pool_.end(), input) == pool_.end()) pool_.push_back(input);
  }

  std::string outcome_of(const std::string& input) {
    try {
      target_.run(input);
      return "ok";
    } catch (const Error& error) {
      const std::string_view message = error.what();
      const bool is_a_line = !message.empty() && message.size() < kLongestMessage + 100 &&
                             is_utf8(message) && message.find('\n') == message.npos;
      if (!is_a_line) found(input, "a message that is no line");
      return skeleton(error.what());
    } catch (const std::exception& error) {
      const bool broken = dynamic_cast<const Broken*>(&error) != nullptr;
      return found(input, (broken ? "broken promise: " : "foreign exception: ") +
                              printable(error.what(), 400));
    }
  }

  std::string found(const std::string& input, const std::string& what) {
    if (findings_.insert(skeleton(what)).second) {
      const auto path = options_.findings / fmt::format("{}-{}", target_.name, findings_.size());
      std::ofstream(path, std::ios::binary) << input;
      fmt::print("{}: {} ({})\n", target_.name, what, path.string());
    }
    return what;
  }

  const Target& target_;
  const Options& options_;
  Mutation mutation_;
  std::vector<std::string> pool_;
  std::set<std::string> seen_, findings_;
};

constexpr const char* kUsage =
    "usage: mos_fuzz [--seconds N | --inputs N] [--seed N] [--corpus DIR] [--findings DIR]\n"
    "                [TARGET...]\n"
    "       mos_fuzz --list\n"
    "       mos_fuzz TARGET --file FILE    runs this input alone\n";

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const auto value = [&]() -> std::string {
      if (++i == argc) throw Error(ErrorKind::kUsage, word + " needs a value");
      return argv[i];
    };
    const auto number = [&] {
      const auto result = number_in<std::uint64_t>(value());
      if (!result) throw Error(ErrorKind::kUsage, word + " needs a whole number");
      return *result;
    };
    if (word == "--seconds") {
      options.seconds = static_cast<double>(number());
    } else if (word == "--inputs") {
      options.inputs = number();
    } else if (word == "--seed") {
      options.seed = number();
    } else if (word == "--corpus") {
      options.corpus = value();
    } else if (word == "--findings") {
      options.findings = value();
    } else if (word == "--file") {
      options.files.emplace_back(value());
    } else if (word.starts_with("-")) {
      throw Error(ErrorKind::kUsage, "unknown option " + word);
    } else {
      options.targets.push_back(word);
    }
  }
  return options;
}

/// Those that `names` chooses; all for none.
std::vector<Target> chosen(const std::vector<std::string>& names) {
  auto targets = all_targets();
  for (const auto& name : names) {
    const auto is_it = [&](const Target& target) { return name == target.name; };
    if (std::none_of(targets.begin(), targets.end(), is_it)) {
      throw Error(ErrorKind::kUsage, name + " is no target; see mos_fuzz --list");
    }
  }
  std::erase_if(targets, [&](const Target& target) {
    return !names.empty() && std::find(names.begin(), names.end(), target.name) == names.end();
  });
  return targets;
}

int run(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == "--list") {
    for (const auto& target : all_targets()) fmt::print("{}\n", target.name);
    return 0;
  }
  if (argc == 2 && std::string_view(argv[1]) == "--help") {
    fmt::print("{}", kUsage);
    return 0;
  }
  const auto options = parse(argc, argv);
  save_input_of_a_crash();
  std::size_t findings = 0;
  for (const auto& target : chosen(options.targets)) {
    Session session(target, options);
    if (options.files.empty()) {
      findings += session.run();
      continue;
    }
    for (const auto& file : options.files) session.run_file(file);
    findings += session.findings();
  }
  return findings == 0 ? 0 : 1;
}

}  // namespace

const fs::path& scratch_folder() {
  struct Folder {
    fs::path path;
    Folder() {
      const auto in_memory =
          fs::is_directory("/dev/shm") ? fs::path("/dev/shm") : fs::temp_directory_path();
      auto name = (in_memory / "mos-fuzz-XXXXXX").string();
      if (::mkdtemp(name.data()) == nullptr) throw Error(ErrorKind::kIo, "cannot make " + name);
      path = name;
    }
    ~Folder() {
      std::error_code ignored;
      fs::remove_all(path, ignored);
    }
  };
  static const Folder folder;
  return folder.path;
}

fs::path scratch_file(const std::string& name, std::string_view bytes) {
  auto path = scratch_folder() / name;
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
  return path;
}

}  // namespace mos::fuzz

int main(int argc, char** argv) {
  try {
    mos::set_up_runtime();
    return mos::fuzz::run(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "mos_fuzz: {}\n", error.what());
    return 2;
  }
}
