#include "keeper/config.h"

#include <string_view>
#include <utility>

namespace gemel::keeper {
namespace {

constexpr std::string_view kHelp =
    "usage: gemel-keeper [--config FILE]\n"
    "Keeps this node a member of its cluster. FILE is /etc/gemel/cluster.toml if not said; see\n"
    "docs/FAILOVER.md.\n";

}  // namespace

Result<Config> ReadConfig(const std::vector<std::string>& words) {
  Config config{std::string(cluster::kClusterConfigPath), {}};
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i] == "--help" || words[i] == "-h")
      return MakeError(Code::kCancelled, std::string(kHelp));
    if (words[i] == "--version")
      return MakeError(Code::kCancelled, "gemel-keeper " GEMEL_VERSION "\n");
    if (words[i] != "--config" || i + 1 == words.size())
      return InvalidArgument("{}: unknown word; gemel-keeper --help", words[i]);
    config.path = words[++i];
  }
  ASSIGN_OR_RETURN(config.cluster, cluster::ReadClusterConfig(config.path));
  if (config.cluster.role != cluster::Role::kNode)
    return InvalidArgument("{}: role: witness: only a node has a session", config.path);
  return config;
}

}  // namespace gemel::keeper
