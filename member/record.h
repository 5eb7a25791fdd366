// What etcd knows of members beside etcd's own list: /gemel/cluster/members/NAME. Pure.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cluster/config/cluster_config.h"
#include "etcd/kv.h"

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
  std::int64_t changed = 0;  // its key's last change; 0: there is none yet
  bool operator==(const Record&) const = default;
};

etcd::KeyRange RecordRange();
std::string RecordKey(std::string_view name);
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
