// What gemeld is told: words of its command line, and a TOML file that they override.
//
//   node = "a"
//   state_dir = "/var/lib/gemel"
//   run_dir = "/run/gemel"
//   boot_dirs = ["/var/lib/gemel/boot"]
//   block_devices = ["/dev/vg0/db"]
//   host_bridges = ["br0"]
//   log_level = "info"
//   cgroup_parent = "/sys/fs/cgroup/gemel"
//   memory_capacity = "60G"        # what machines may have together; all but 512 MiB if not said
//   heartbeat_seconds = "10"
//   vhost = "auto"
//   iscsi_initiator = "iqn.2026-11.org.example:a"  # what this node's names for targets begin with
//   [socket]
//   mode = "0660"
//   group = "gemel"
//   [tls]
//   listen = "0.0.0.0:7443"
//   pki_dir = "/etc/gemel/pki"
//   [metrics]
//   listen = "127.0.0.1:9177"      # or the port alone, which is this address
//   [pools.default]
//   path = "/var/lib/gemel/disks/default"
//   [iscsi_targets.san]
//   portal = "10.0.0.9:3260"
//   iqn = "iqn.2026-11.org.example:storage"
//   chap_user = "gemel"
//   chap_secret_file = "/etc/gemel/san.secret"
//   projects = ["web"]             # whose machines may have its disks; all if not said
//   [fence_agents.b]               # how node b of the cluster is switched off from here
//   agent = "/usr/sbin/fence_ipmilan"
//   plug = "7"
//   secret_file = "/etc/gemel/ipmi-b.secret"
//   user = "nobody"
//   timeout = "60"
//   options.ip = "10.0.0.9"        # the agent's own
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/result.h"
#include "grpc/fence_agent.h"
#include "grpc/iscsi_targets.h"

namespace gemel::daemon {

struct DaemonConfig {
  std::string node;  // empty: the host's name
  std::string state_dir = "/var/lib/gemel";
  std::string run_dir = "/run/gemel";
  std::vector<std::string> boot_dirs;        // empty: <state_dir>/boot
  std::vector<std::string> block_devices;    // of the host, that disks may be
  std::vector<std::string> host_bridges;     // of the host, that networks may be
  std::map<std::string, std::string> pools;  // empty: "default" at <state_dir>/disks/default
  IscsiTargets iscsi;
  std::map<std::string, FenceAgent> fence_agents;  // by the name of the node that each switches off
  LogLevel log_level = LogLevel::kInfo;
  std::uint64_t memory_capacity = 0;
  std::int64_t heartbeat_seconds = 10;  // a machine's process that is silent for so long is told of
  mode_t socket_mode = 0660;
  bool vhost = true;          // vhost-net for cards on networks, where the host has it
  std::string cgroup_parent;  // of machines' control groups; empty: "gemel" in the host's hierarchy
  std::string socket_group;   // empty: the daemon's own
  std::string tls_listen;     // empty: no TCP
  std::string metrics_listen;  // "ADDRESS:PORT" of /metrics; empty: none
  std::string pki_dir = "/etc/gemel/pki";
  // cluster/config/cluster_config.h; this node is one of a cluster's if it is there.
  std::string cluster_file = "/etc/gemel/cluster.toml";
};

// The words after the program's name; `--config FILE` is read first, wherever it stands.
// kInvalidArgument names the word or the key and its value. kCancelled with a text to print: --help,
// --version.
Result<DaemonConfig> ReadDaemonConfig(const std::vector<std::string>& words);
// The text of a configuration file, over `config`.
Status ParseDaemonConfig(std::string_view text, DaemonConfig& config);
// What was left out, from what was said and from the host.
void FillDaemonDefaults(DaemonConfig& config);

}  // namespace gemel::daemon
