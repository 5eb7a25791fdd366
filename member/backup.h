// A copy of what the cluster keeps in etcd, as keys and values in a file, and a cluster made of it anew.
// A restored cluster has an incarnation above all that was seen, so that nothing that was recorded before
// is believed (docs/FAILOVER.md). Secrets of machines are in the file, too: 0600.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "etcd/grpc_admin.h"

namespace gemel::member {

struct Backup {
  std::string cluster;
  std::int64_t time = 0;  // seconds since 1970
  std::uint64_t incarnation = 0;
  std::vector<etcd::KeyValue> keys;  // without the incarnation's
};

// All of it at one revision, from a majority.
Result<Backup> TakeBackup(etcd::Admin& admin, const std::string& cluster, std::int64_t now);
std::string EncodeBackup(const Backup& backup);
// kDataLoss if any bit of it is not as it was written.
Result<Backup> DecodeBackup(std::string_view bytes);

// Writes all of it into an etcd that has no incarnation yet; that of `backup` comes last, so that until
// then nobody takes it for a cluster. Members other than `name` are recorded as gone. May be repeated.
Status WriteBackup(etcd::Admin& admin, const Backup& backup, const std::string& name);

}  // namespace gemel::member
