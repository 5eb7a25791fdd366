#include "grpc/vm_store.h"

#include <fmt/format.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include <charconv>

#include "grpc/uuid.h"

namespace gemel::daemon {
namespace {

constexpr int kSchemaVersion = 2;
constexpr const char* kSchema = R"(
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS vms (name TEXT PRIMARY KEY, body BLOB NOT NULL, running BLOB NOT NULL,
                                deleting TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS disks (name TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS networks (name TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS operations (name TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS requests (key TEXT PRIMARY KEY, fingerprint TEXT NOT NULL,
                                     operation TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS requests_by_operation ON requests (operation);
CREATE TABLE IF NOT EXISTS events (sequence INTEGER PRIMARY KEY, body BLOB NOT NULL);
)";

// Keys of `meta`: what of a node's decisions was told, which outlives the events.
constexpr std::string_view kTaken = "taken/";

// SQLITE_FULL, SQLITE_IOERR and the like, as a caller can act upon them.
Code CodeOf(int sqlite) {
  switch (sqlite & 0xff) {
    case SQLITE_FULL:
      return Code::kResourceExhausted;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return Code::kDataLoss;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_CANTOPEN:
      return Code::kFailedPrecondition;
    default:
      return Code::kUnavailable;
  }
}

template <class Message>
Status Parse(const std::string& bytes, const char* table, Message& message) {
  if (message.ParseFromString(bytes)) return {};
  return MakeError(Code::kDataLoss, fmt::format("a row of {} is not readable", table));
}

template <class Message>
std::string Bytes(const Message& message) {
  return message.SerializeAsString();
}

}  // namespace

Result<std::unique_ptr<SqliteStore>> SqliteStore::Open(const std::string& path) {
  std::unique_ptr<SqliteStore> store(new SqliteStore(path));
  const mode_t before = umask(0077);
  const int opened =
      sqlite3_open_v2(path.c_str(), &store->database_,
                      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
  umask(before);
  if (opened != SQLITE_OK) return std::unexpected(store->Failure("open").error());
  RETURN_IF_ERROR(store->Prepare());
  return store;
}

SqliteStore::~SqliteStore() { sqlite3_close_v2(database_); }

Status SqliteStore::Prepare() {
  sqlite3_busy_timeout(database_, 2000);
  sqlite3_extended_result_codes(database_, 1);
  ASSIGN_OR_RETURN(const auto check, Select("PRAGMA quick_check(1)", 1));
  if (check.empty() || check[0][0] != "ok") {
    return MakeError(Code::kDataLoss, fmt::format("{}: the database is damaged: {}", path_,
                                                  check.empty() ? "no answer" : check[0][0]));
  }
  ASSIGN_OR_RETURN(const auto version, Select("PRAGMA user_version", 1));
  int found = 0;
  if (!version.empty())
    std::from_chars(version[0][0].data(), version[0][0].data() + version[0][0].size(), found);
  if (found > kSchemaVersion)
    return FailedPrecondition("{}: made by a newer gemeld (schema {}, this one knows {})", path_,
                              found, kSchemaVersion);
  RETURN_IF_ERROR(Execute("PRAGMA journal_mode=WAL"));
  RETURN_IF_ERROR(Execute("PRAGMA synchronous=FULL"));
  RETURN_IF_ERROR(Execute("BEGIN IMMEDIATE"));
  RETURN_IF_ERROR(Execute(kSchema));
  RETURN_IF_ERROR(Execute(fmt::format("PRAGMA user_version={}", kSchemaVersion).c_str()));
  RETURN_IF_ERROR(Run("INSERT OR IGNORE INTO meta VALUES ('id', ?1)", {NewUuid()}));
  return Execute("COMMIT");
}

Status SqliteStore::Failure(const char* what) const {
  const int code = database_ == nullptr ? SQLITE_NOMEM : sqlite3_extended_errcode(database_);
  return MakeError(CodeOf(code),
                   fmt::format("{}: {}: {}", path_, what,
                               database_ == nullptr ? "out of memory" : sqlite3_errmsg(database_)));
}

Status SqliteStore::Execute(const char* sql) {
  if (sqlite3_exec(database_, sql, nullptr, nullptr, nullptr) == SQLITE_OK) return {};
  return Failure("write");
}

Status SqliteStore::Run(const char* sql, const std::vector<std::string>& values) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v2(database_, sql, -1, &statement, nullptr) != SQLITE_OK)
    return Failure("prepare");
  for (std::size_t i = 0; i < values.size(); ++i) {
    // Texts and blobs alike: a BLOB column keeps them as they are.
    const int index = static_cast<int>(i) + 1;
    const auto size = static_cast<sqlite3_uint64>(values[i].size());
    sqlite3_bind_text64(statement, index, values[i].data(), size, SQLITE_STATIC, SQLITE_UTF8);
  }
  const int done = sqlite3_step(statement);
  Status status;
  if (done != SQLITE_DONE && done != SQLITE_ROW) status = Failure("write");
  sqlite3_finalize(statement);
  return status;
}

Status SqliteStore::RunNumbered(const char* sql, std::uint64_t number, const std::string& value) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v2(database_, sql, -1, &statement, nullptr) != SQLITE_OK)
    return Failure("prepare");
  sqlite3_bind_int64(statement, 1, static_cast<sqlite3_int64>(number));
  if (sqlite3_bind_parameter_count(statement) > 1) {
    sqlite3_bind_text64(statement, 2, value.data(), value.size(), SQLITE_STATIC, SQLITE_UTF8);
  }
  const int done = sqlite3_step(statement);
  Status status;
  if (done != SQLITE_DONE) status = Failure("write");
  sqlite3_finalize(statement);
  return status;
}

Result<std::vector<std::vector<std::string>>> SqliteStore::Select(const char* sql, int columns) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v2(database_, sql, -1, &statement, nullptr) != SQLITE_OK)
    return std::unexpected(Failure("read").error());
  std::vector<std::vector<std::string>> rows;
  int step = SQLITE_ROW;
  while ((step = sqlite3_step(statement)) == SQLITE_ROW) {
    std::vector<std::string>& row = rows.emplace_back();
    for (int column = 0; column < columns; ++column) {
      const void* bytes = sqlite3_column_blob(statement, column);
      const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement, column));
      row.emplace_back(bytes == nullptr ? "" : static_cast<const char*>(bytes), size);
    }
  }
  sqlite3_finalize(statement);
  if (step != SQLITE_DONE) return std::unexpected(Failure("read").error());
  return rows;
}

Status SqliteStore::Commit(const Batch& batch) {
  RETURN_IF_ERROR(Execute("BEGIN IMMEDIATE"));
  Status status = Apply(batch);
  if (status) status = Execute("COMMIT");
  if (!status && sqlite3_get_autocommit(database_) == 0)
    sqlite3_exec(database_, "ROLLBACK", nullptr, nullptr, nullptr);
  return status;
}

Status SqliteStore::Apply(const Batch& batch) {
  for (const StoredVm& vm : batch.put_vms) {
    RETURN_IF_ERROR(
        Run("INSERT OR REPLACE INTO vms VALUES (?1, ?2, ?3, ?4)",
            {vm.vm.name(), Bytes(vm.vm), Bytes(vm.running_spec), vm.deleting ? "1" : "0"}));
  }
  for (const auto& name : batch.delete_vms)
    RETURN_IF_ERROR(Run("DELETE FROM vms WHERE name = ?1", {name}));
  for (const v1::Disk& disk : batch.put_disks)
    RETURN_IF_ERROR(
        Run("INSERT OR REPLACE INTO disks VALUES (?1, ?2)", {disk.name(), Bytes(disk)}));
  for (const auto& name : batch.delete_disks)
    RETURN_IF_ERROR(Run("DELETE FROM disks WHERE name = ?1", {name}));
  for (const v1::Network& network : batch.put_networks)
    RETURN_IF_ERROR(
        Run("INSERT OR REPLACE INTO networks VALUES (?1, ?2)", {network.name(), Bytes(network)}));
  for (const auto& name : batch.delete_networks)
    RETURN_IF_ERROR(Run("DELETE FROM networks WHERE name = ?1", {name}));
  for (const v1::Operation& operation : batch.put_operations)
    RETURN_IF_ERROR(Run("INSERT OR REPLACE INTO operations VALUES (?1, ?2)",
                        {operation.name(), Bytes(operation)}));
  for (const auto& name : batch.delete_operations) {
    RETURN_IF_ERROR(Run("DELETE FROM operations WHERE name = ?1", {name}));
    RETURN_IF_ERROR(Run("DELETE FROM requests WHERE operation = ?1", {name}));
  }
  for (const StoredRequest& request : batch.put_requests)
    RETURN_IF_ERROR(Run("INSERT OR REPLACE INTO requests VALUES (?1, ?2, ?3)",
                        {request.key, request.fingerprint, request.operation}));
  return ApplyEvents(batch);
}

Status SqliteStore::ApplyEvents(const Batch& batch) {
  for (const auto& [sequence, event] : batch.events) {
    RETURN_IF_ERROR(RunNumbered("INSERT INTO events VALUES (?1, ?2)", sequence, Bytes(event)));
    if (event.has_decision())
      RETURN_IF_ERROR(Run("INSERT OR REPLACE INTO meta VALUES (?1, ?2)",
                          {fmt::format("{}{}", kTaken, event.decision().node()),
                           fmt::format("{}", event.decision().number())}));
  }
  if (batch.delete_events_below > 0)
    RETURN_IF_ERROR(
        RunNumbered("DELETE FROM events WHERE sequence < ?1", batch.delete_events_below, ""));
  return {};
}

Result<StoreContents> SqliteStore::Load() {
  StoreContents contents;
  ASSIGN_OR_RETURN(const auto ids, Select("SELECT value FROM meta WHERE key = 'id'", 1));
  if (!ids.empty()) contents.id = ids[0][0];
  ASSIGN_OR_RETURN(const auto vms, Select("SELECT body, running, deleting FROM vms", 3));
  for (const auto& row : vms) {
    StoredVm& vm = contents.vms.emplace_back();
    RETURN_IF_ERROR(Parse(row[0], "vms", vm.vm));
    RETURN_IF_ERROR(Parse(row[1], "vms", vm.running_spec));
    vm.deleting = row[2] == "1";
  }
  ASSIGN_OR_RETURN(const auto disks, Select("SELECT body FROM disks", 1));
  for (const auto& row : disks)
    RETURN_IF_ERROR(Parse(row[0], "disks", contents.disks.emplace_back()));
  ASSIGN_OR_RETURN(const auto networks, Select("SELECT body FROM networks", 1));
  for (const auto& row : networks)
    RETURN_IF_ERROR(Parse(row[0], "networks", contents.networks.emplace_back()));
  ASSIGN_OR_RETURN(const auto operations, Select("SELECT body FROM operations", 1));
  for (const auto& row : operations)
    RETURN_IF_ERROR(Parse(row[0], "operations", contents.operations.emplace_back()));
  ASSIGN_OR_RETURN(const auto requests,
                   Select("SELECT key, fingerprint, operation FROM requests", 3));
  for (const auto& row : requests) contents.requests.push_back({row[0], row[1], row[2]});
  RETURN_IF_ERROR(LoadEvents(contents));
  return contents;
}

Status SqliteStore::LoadEvents(StoreContents& contents) {
  ASSIGN_OR_RETURN(const auto events,
                   Select("SELECT sequence, body FROM events ORDER BY sequence", 2));
  for (const auto& row : events) {
    auto& [sequence, event] = contents.events.emplace_back();
    std::from_chars(row[0].data(), row[0].data() + row[0].size(), sequence);
    RETURN_IF_ERROR(Parse(row[1], "events", event));
    contents.last_sequence = sequence;
    // Schemas of before have it nowhere else.
    if (event.has_decision())
      contents.taken_decisions[event.decision().node()] = event.decision().number();
  }
  ASSIGN_OR_RETURN(const auto taken,
                   Select("SELECT key, value FROM meta WHERE key LIKE 'taken/%'", 2));
  for (const auto& row : taken) {
    std::uint64_t& number = contents.taken_decisions[row[0].substr(kTaken.size())];
    std::from_chars(row[1].data(), row[1].data() + row[1].size(), number);
  }
  return {};
}

}  // namespace gemel::daemon
