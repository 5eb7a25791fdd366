// What a node's programs know of their cluster: /etc/gemel/cluster.toml, which `gemel cluster` writes and
// gemel-member keeps up to date. Each program reads the whole of it and uses its part.
//
//   cluster = "rack7"
//   name = "a"                                # this member's; gemeld's `node` is the same
//   role = "node"                             # or "witness", which has no number
//   node = 1                                  # this node's number
//   endpoints = ["10.0.0.1:2379", "10.0.0.2:2379", "10.0.0.3:2379"]   # etcd; the nearest first
//   state_dir = "/var/lib/gemel/cluster"
//   run_dir = "/run/gemel"
//   log_level = "info"
//   [tls]                                     # none: for loopback and sockets alone
//   ca = "/etc/gemel/cluster/ca.pem"
//   certificate = "/etc/gemel/cluster/node.pem"
//   key = "/etc/gemel/cluster/node.pem"       # they may be one file
//   [member]                                  # etcd here, as gemel-member runs it
//   address = "10.0.0.1"
//   client_port = 2379
//   peer_port = 2380
//   join_port = 2381                          # a node's alone
//   api_port = 2382                           # a node's alone: gemeld's, for other nodes
//   certificate = "/etc/gemel/cluster/member.pem"   # with its key
//   authority_key = "/etc/gemel/cluster/ca-key.pem" # a node's alone
//   etcd = "/usr/bin/etcd"
//   initial_cluster = "a=https://10.0.0.1:2380"     # for etcd's first start, with the next two
//   initial_state = "new"
//   initial_token = "…"
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "base/result.h"
#include "cluster/records.h"

namespace gemel::cluster {

enum class Role : std::uint8_t { kNode, kWitness };

struct MemberConfig {
  std::string address;  // empty: no etcd of gemel-member's here
  std::uint16_t client_port = 2379;
  std::uint16_t peer_port = 2380;
  std::uint16_t join_port = 2381;
  std::uint16_t api_port = 2382;
  std::string certificate;
  std::string authority_key;
  std::string etcd = "/usr/bin/etcd";
  std::string initial_cluster;
  std::string initial_state;
  std::string initial_token;
  bool operator==(const MemberConfig&) const = default;
};

struct ClusterConfig {
  std::string cluster;
  std::string name;
  Role role = Role::kNode;
  NodeId node = 0;  // a witness has none
  std::vector<std::string> endpoints;
  std::string state_dir = "/var/lib/gemel/cluster";
  std::string run_dir = "/run/gemel";
  LogLevel log_level = LogLevel::kInfo;
  // Paths; all or none.
  std::string ca;
  std::string certificate;
  std::string key;
  MemberConfig member;
  bool operator==(const ClusterConfig&) const = default;
};

// kInvalidArgument names the key and its value; keys that this version does not know are refused.
Result<ClusterConfig> ParseClusterConfig(std::string_view text);
// The same, of a file, whose name is in the error.
Result<ClusterConfig> ReadClusterConfig(const std::string& path);
// What ParseClusterConfig reads back as the same.
std::string FormatClusterConfig(const ClusterConfig& config);

// Names of clusters and members: 1 to 63 of a-z, 0-9 and -, no - at an end (as gemeld's names of nodes).
// kInvalidArgument begins with `what`.
Status CheckName(std::string_view what, std::string_view name);

inline constexpr std::string_view kClusterConfigPath = "/etc/gemel/cluster.toml";
// A storage key has 8 bits for it (cluster/records.h).
inline constexpr NodeId kHighestNode = 255;

}  // namespace gemel::cluster
