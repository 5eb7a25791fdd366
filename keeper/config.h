// gemel-keeper's words, and the file that they name (cluster/config/cluster_config.h).
#pragma once
#include <string>
#include <vector>

#include "base/result.h"
#include "cluster/config/cluster_config.h"

namespace gemel::keeper {

struct Config {
  std::string path;  // of the file, to see when it changes
  cluster::ClusterConfig cluster;
};

// The words after the program's name: --config FILE. kCancelled with a text to print: --help,
// --version.
Result<Config> ReadConfig(const std::vector<std::string>& words);

}  // namespace gemel::keeper
