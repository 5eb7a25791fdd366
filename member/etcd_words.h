// How etcd is run: the words after its name. Pure.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cluster/config/cluster_config.h"

namespace gemel::member {

// "[::1]:2379" of an IPv6 address.
std::string HostPort(const std::string& address, std::uint16_t port);
// What a client of etcd's dials: a URL less its scheme.
std::string EndpointOf(const std::string& url);
std::string ClientUrl(const cluster::ClusterConfig& config);
std::string PeerUrl(const cluster::ClusterConfig& config);
std::string EtcdFolder(const cluster::ClusterConfig& config);
// The initial_state of a cluster that is made of a backup, which is in RestoreFile; etcd's is "new".
inline constexpr std::string_view kRestoredState = "restored";
// The initial_state, for ever, of a node that runs no etcd: others have the votes (member/votes.h).
inline constexpr std::string_view kClientState = "client";
inline constexpr std::size_t kMostBackup = 256 << 20;
std::string RestoreFile(const cluster::ClusterConfig& config);
// Where etcd tells its metrics: in etcd's own folder of work, since it takes no path for that.
std::string MetricsSocket(const cluster::ClusterConfig& config);
inline constexpr std::int64_t kQuotaBytes = 256 << 20;
// What gemel-member keeps of the cluster's revoked certificates.
std::string RevocationFile(const cluster::ClusterConfig& config);
// `revocations`: that file is there. etcd lets nobody in if it is said and is not.
std::vector<std::string> EtcdWords(const cluster::ClusterConfig& config, bool revocations);

}  // namespace gemel::member
