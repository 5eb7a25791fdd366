// What gemel-keeper is told, by a TOML file that the node's programs share:
//
//   node = 1                                  # this node's number
//   endpoints = ["10.0.0.1:2379", "10.0.0.2:2379", "10.0.0.3:2379"]   # etcd; the nearest first
//   state_dir = "/var/lib/gemel/cluster"
//   run_dir = "/run/gemel"
//   log_level = "info"
//   [tls]                                     # none: for loopback and sockets alone
//   ca = "/etc/gemel/cluster/ca.pem"
//   certificate = "/etc/gemel/cluster/node.pem"
//   key = "/etc/gemel/cluster/node.key"
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "base/result.h"
#include "cluster/records.h"

namespace gemel::keeper {

struct Config {
  cluster::NodeId node = 0;
  std::vector<std::string> endpoints;
  std::string state_dir = "/var/lib/gemel/cluster";
  std::string run_dir = "/run/gemel";
  LogLevel log_level = LogLevel::kInfo;
  // Paths; all or none.
  std::string ca;
  std::string certificate;
  std::string key;
};

// kInvalidArgument names the key and its value; keys that this version does not know are refused.
Result<Config> ParseConfig(std::string_view text);
// The words after the program's name: --config FILE. kCancelled with a text to print: --help,
// --version.
Result<Config> ReadConfig(const std::vector<std::string>& words);

}  // namespace gemel::keeper
