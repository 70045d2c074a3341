#include "mos/studio/database.h"

#include <fmt/core.h>
#include <sqlite3.h>

#include "mos/base/error.h"

namespace mos::studio {
namespace {

[[noreturn]] void fail(const std::string& name, sqlite3* connection, int result) {
  if (result == SQLITE_NOTADB || result == SQLITE_CORRUPT) {
    throw Error(
        ErrorKind::kFormat,
        fmt::format(
            "the database {0} is damaged ({1}): move it aside, with {0}-wal and {0}-shm if "
            "they are there, and start again. Pictures, concepts, models and what jobs have "
            "made are files and are found again; the list of jobs, stars, notes and "
            "projects were in it",
            name, connection != nullptr ? sqlite3_errmsg(connection) : "no connection"));
  }
  throw Error(ErrorKind::kIo,
              fmt::format("the database {}: {}", name,
                          connection != nullptr ? sqlite3_errmsg(connection) : "out of memory"));
}

constexpr int kBusyMilliseconds = 5000;

}  // namespace

void Database::Close::operator()(sqlite3* connection) const { sqlite3_close_v2(connection); }

Database::Database(const std::filesystem::path& path) : name_(path.string()) {
  sqlite3* connection = nullptr;
  const int result = sqlite3_open_v2(path.c_str(), &connection,
                                     SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nullptr);
  connection_.reset(connection);
  if (result != SQLITE_OK) fail(name_, connection, result);
  sqlite3_busy_timeout(connection, kBusyMilliseconds);
  sqlite3_db_config(connection, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -2000;");
}

void Database::execute(const std::string& sql) {
  const std::lock_guard lock(mutex_);
  const int result = sqlite3_exec(connection_.get(), sql.c_str(), nullptr, nullptr, nullptr);
  if (result != SQLITE_OK) fail(name_, connection_.get(), result);
}

std::int64_t Database::last_id() const { return sqlite3_last_insert_rowid(connection_.get()); }

int Database::changes() const { return sqlite3_changes(connection_.get()); }

Statement::Statement(Database& database, std::string_view sql)
    : database_(database), lock_(database.mutex_) {
  check(sqlite3_prepare_v2(database_.connection_.get(), sql.data(), static_cast<int>(sql.size()),
                           &statement_, nullptr));
}

Statement::~Statement() { sqlite3_finalize(statement_); }

void Statement::check(int result) const {
  if (result != SQLITE_OK) fail(database_.name_, database_.connection_.get(), result);
}

Statement& Statement::bind(std::int64_t value) {
  check(sqlite3_bind_int64(statement_, ++bound_, value));
  return *this;
}

Statement& Statement::bind(std::string_view value) {
  check(sqlite3_bind_text(statement_, ++bound_, value.data(), static_cast<int>(value.size()),
                          SQLITE_TRANSIENT));
  return *this;
}

Statement& Statement::bind(std::optional<std::int64_t> value) {
  if (value) return bind(*value);
  check(sqlite3_bind_null(statement_, ++bound_));
  return *this;
}

bool Statement::step() {
  const int result = sqlite3_step(statement_);
  if (result == SQLITE_ROW) return true;
  if (result != SQLITE_DONE) fail(database_.name_, database_.connection_.get(), result);
  return false;
}

void Statement::run() {
  while (step()) continue;
}

std::int64_t Statement::integer(int column) const {
  return sqlite3_column_int64(statement_, column);
}

std::optional<std::int64_t> Statement::optional_integer(int column) const {
  if (sqlite3_column_type(statement_, column) == SQLITE_NULL) return std::nullopt;
  return integer(column);
}

std::string Statement::text(int column) const {
  const auto* bytes = sqlite3_column_text(statement_, column);
  if (bytes == nullptr) return "";
  return {reinterpret_cast<const char*>(bytes),
          static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
}

}  // namespace mos::studio
