// What this node must not forget, in SQLite (WAL, synchronous=FULL): machines, disks, networks,
// operations, request ids and events, each as the API's message. A Batch is one transaction: all of
// it is on the disk when Commit returns well, none of it otherwise. On the manager loop's thread.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "proto/gemel/v1/disks.pb.h"
#include "proto/gemel/v1/events.pb.h"
#include "proto/gemel/v1/networks.pb.h"
#include "proto/gemel/v1/operations.pb.h"
#include "proto/gemel/v1/virtual_machines.pb.h"

struct sqlite3;
struct sqlite3_stmt;

namespace gemel::daemon {

struct StoredVm {
  v1::VirtualMachine vm;
  v1::VirtualMachineSpec running_spec;  // that its process was started with, and changed to since
  bool deleting = false;                // goes away as soon as its process has
};

// A call that was carried out: the same one again gets its operation.
struct StoredRequest {
  std::string key;  // caller and request id
  std::string fingerprint;
  std::string operation;
};

struct Batch {
  std::vector<StoredVm> put_vms;
  std::vector<std::string> delete_vms;  // names
  std::vector<v1::Disk> put_disks;
  std::vector<std::string> delete_disks;
  std::vector<v1::Network> put_networks;
  std::vector<std::string> delete_networks;
  std::vector<v1::Operation> put_operations;
  std::vector<std::string> delete_operations;  // and the requests that led to them
  std::vector<StoredRequest> put_requests;
  std::vector<std::pair<std::uint64_t, v1::Event>> events;  // by sequence number, ascending
  std::uint64_t delete_events_below = 0;
};

struct StoreContents {
  std::string id;  // of this store; another one after it was lost and made anew
  std::vector<StoredVm> vms;
  std::vector<v1::Disk> disks;
  std::vector<v1::Network> networks;
  std::vector<v1::Operation> operations;
  std::vector<StoredRequest> requests;
  std::vector<std::pair<std::uint64_t, v1::Event>> events;
  std::uint64_t last_sequence = 0;
  // By node (nodes/{node}): the number of its last decision among all events ever, deleted ones too.
  std::map<std::string, std::uint64_t> taken_decisions;
};

class VmStore {
 public:
  virtual ~VmStore() = default;
  virtual Result<StoreContents> Load() = 0;
  virtual Status Commit(const Batch& batch) = 0;
};

class SqliteStore final : public VmStore {
 public:
  // Opens or makes `path` and checks it (quick_check): kDataLoss names the file and what is wrong
  // with it, and nothing of it was changed; kFailedPrecondition if a newer version made it.
  static Result<std::unique_ptr<SqliteStore>> Open(const std::string& path);
  ~SqliteStore() override;

  Result<StoreContents> Load() override;
  Status Commit(const Batch& batch) override;

 private:
  explicit SqliteStore(std::string path) : path_(std::move(path)) {}
  Status Prepare();
  Status Execute(const char* sql);
  Status Apply(const Batch& batch);
  Status ApplyEvents(const Batch& batch);
  Status LoadEvents(StoreContents& contents);
  Status Run(const char* sql, const std::vector<std::string>& values);
  Status RunNumbered(const char* sql, std::uint64_t number, const std::string& value);
  Status Failure(const char* what) const;
  Result<std::vector<std::vector<std::string>>> Select(const char* sql, int columns);

  const std::string path_;
  sqlite3* database_ = nullptr;
};

}  // namespace gemel::daemon
