// What forming a cluster and caring for it asks of etcd: its members, its health, single reads and
// transactions. Calls block, with a deadline each, so they are for programs and threads that may wait:
// never for a keeper or a manager's loop (kv.h). Any thread.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "etcd/grpc_kv.h"
#include "etcd/kv.h"

namespace gemel::etcd {

struct MemberInfo {
  std::uint64_t id = 0;
  std::string name;  // empty: it was added, and has never started
  std::vector<std::string> peer_urls;
  std::vector<std::string> client_urls;
  bool learner = false;
  bool operator==(const MemberInfo&) const = default;
};

// What one member says of itself.
struct MemberStatus {
  std::uint64_t id = 0;
  std::uint64_t leader = 0;  // 0: it knows none
  std::uint64_t applied = 0;
  std::int64_t stored_bytes = 0;
  std::int64_t used_bytes = 0;
  bool learner = false;
  std::string version;
  std::vector<std::string> errors;
};

struct AlarmInfo {
  std::uint64_t member = 0;
  bool no_space = false;  // else: corrupt
};

class Admin {
 public:
  virtual ~Admin() = default;
  // Each asks one endpoint after the other until one answers; the last one's error.
  virtual Result<std::vector<MemberInfo>> Members() = 0;
  // It has no vote until it is promoted.
  virtual Result<MemberInfo> AddLearner(const std::string& peer_url) = 0;
  // kFailedPrecondition as long as it is behind.
  virtual Status Promote(std::uint64_t id) = 0;
  virtual Status Remove(std::uint64_t id) = 0;
  virtual Result<std::vector<AlarmInfo>> Alarms() = 0;
  // Ends the alarm; it is raised again if there is still no room.
  virtual Status Disarm(const AlarmInfo& alarm) = 0;
  // From a majority.
  virtual Result<KvSnapshot> Read(const KeyRange& range) = 0;
  virtual Result<KvTxnAnswer> Commit(const KvTxn& txn) = 0;
  // These ask the member at that endpoint alone.
  virtual Result<MemberStatus> StatusOf(const std::string& endpoint) = 0;
  virtual Status MoveLeader(const std::string& leader, std::uint64_t to) = 0;
  virtual Status Defragment(const std::string& endpoint) = 0;
};

// options.call_deadline_ms is each attempt's. Connects when asked. kInvalidArgument as CreateGrpcKv.
Result<std::unique_ptr<Admin>> CreateGrpcAdmin(const GrpcKvOptions& options);

}  // namespace gemel::etcd
