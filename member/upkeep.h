// What each member keeps true of the cluster's records whenever it looks: its own record, the level of
// features, and the list of revoked certificates, in etcd and in this machine's file. Blocks, as Admin does.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "cluster/config/cluster_config.h"
#include "etcd/grpc_admin.h"
#include "member/record.h"

namespace gemel::member {

struct Upkeep {
  std::vector<Record> records;
  std::uint32_t level = 0;  // of the cluster
};

// `level`: what this program understands. kFailedPrecondition if the cluster's records are of a later one.
Result<Upkeep> KeepRecords(etcd::Admin& admin, const cluster::ClusterConfig& config,
                           const std::vector<etcd::MemberInfo>& members, std::int64_t now,
                           std::uint32_t level = kFeatureLevel);

// Serial numbers of the certificates in this machine's two files.
Result<std::vector<std::string>> OwnSerials(const cluster::ClusterConfig& config);

}  // namespace gemel::member
