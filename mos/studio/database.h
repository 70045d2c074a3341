#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

struct sqlite3;
struct sqlite3_stmt;

/// SQLite, as far as it is needed here.
namespace mos::studio {

class Database;

/// One statement, bound and stepped through. Holds the database for its lifetime: other threads
/// wait, and the same thread may make more of them.
class Statement {
 public:
  Statement(Database& database, std::string_view sql);
  ~Statement();
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  /// The next question mark.
  Statement& bind(std::int64_t value);
  Statement& bind(std::string_view value);
  Statement& bind(std::optional<std::int64_t> value);

  /// Whether there is a (next) row.
  bool step();
  /// Runs what gives no rows.
  void run();

  std::int64_t integer(int column) const;
  std::optional<std::int64_t> optional_integer(int column) const;
  std::string text(int column) const;

 private:
  void check(int result) const;

  Database& database_;
  std::unique_lock<std::recursive_mutex> lock_;
  sqlite3_stmt* statement_ = nullptr;
  int bound_ = 0;
};

class Database {
 public:
  /// Opens or makes it, with its write-ahead log; what a statement has changed is on disk when it
  /// returns. Throws kIo, kFormat for a file that is something else.
  explicit Database(const std::filesystem::path& path);

  /// Runs several statements without values.
  void execute(const std::string& sql);
  std::int64_t last_id() const;
  /// Rows that the last statement has changed.
  int changes() const;

 private:
  friend class Statement;
  struct Close {
    void operator()(sqlite3* connection) const;
  };

  std::string name_;
  std::recursive_mutex mutex_;
  std::unique_ptr<sqlite3, Close> connection_;
};

}  // namespace mos::studio
