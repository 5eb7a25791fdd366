// What etcd knows of members beside etcd's own list: /gemel/cluster/members/NAME. Pure.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cluster/config/cluster_config.h"
#include "etcd/kv.h"
#include "etcd/spec_codec.h"

namespace gemel::member {

struct Record {
  std::string name;
  cluster::Role role = cluster::Role::kNode;
  cluster::NodeId node = 0;
  std::string address;
  std::string machine;  // a digest of /etc/machine-id
  std::string version;
  std::uint64_t member_id = 0;
  bool left = false;
  std::uint16_t join_port = 0;  // a node's
  std::uint32_t level = 0;      // which kinds of records it understands; 0: older than levels
  // Serial numbers of its certificates, the newest last, and of those that count no longer.
  std::vector<std::string> serials;
  std::vector<std::string> revoked;
  std::int64_t changed = 0;  // its key's last change; 0: there is none yet
  bool operator==(const Record&) const = default;
};

// What this version understands. The cluster's level is the lowest of its members' and only rises; what
// is new in a level is written only once the cluster has it, so that the version before can go on.
//   1  certificates' serial numbers in members' records, /gemel/cluster/revoked
//   2  machines whose disk refuses nobody, and proofs that a node is off (cluster::OffBy)
//   3  machines of the cluster's that are paused (a level 2 would run them); on_heartbeat_loss
inline constexpr std::uint32_t kFeatureLevel = 3;
using etcd::kLevelKey;
// When the newest backup was made, in seconds since 1970.
inline constexpr std::string_view kBackupKey = "/gemel/cluster/backup";
// A PEM revocation list of the authority's.
inline constexpr std::string_view kRevokedKey = "/gemel/cluster/revoked";

etcd::KeyRange RecordRange();
std::string RecordKey(std::string_view name);
// One key.
etcd::KeyRange RangeOfKey(std::string_view key);
// A decimal number of an etcd key; 0 if it is none.
std::int64_t NumberOf(std::string_view text);
// Remembers these too; the oldest are forgotten when certificates of that age have ended.
void AddSerials(Record& record, const std::vector<std::string>& serials);
std::string EncodeRecord(const Record& record);
// kInvalidArgument or kUnimplemented: nothing may be done by a list that has one such.
Result<std::vector<Record>> DecodeRecords(const std::vector<etcd::KeyValue>& keys);

// The lowest number that no node ever had. kResourceExhausted.
Result<cluster::NodeId> NextNode(const std::vector<Record>& records);

// Why `wanted` may not join those: kAlreadyExists, kFailedPrecondition, each with what to do instead.
Status CheckJoin(const Record& wanted, const std::vector<Record>& records);
// Why a machine with this version may not join one with that: one version of skew is let pass.
Status CheckVersions(std::string_view theirs, std::string_view ours);

}  // namespace gemel::member
