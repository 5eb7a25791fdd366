// What `gemel cluster` does to the machine it runs on: makes it the first of a cluster, has it join one,
// takes it out again. Each whole or not at all: after an error the machine is as it was.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cluster/config/cluster_config.h"

namespace gemel::member {

struct FormingOptions {
  std::string config_path{cluster::kClusterConfigPath};
  // The member's, as they will be in the file: name, address, ports, folders, etcd's path.
  cluster::ClusterConfig wanted;
  // What gemeld has here already: projects/{project}/vms/{vm}.
  std::vector<std::string> vms;
  // Says what is being done, for people.
  std::function<void(const std::string&)> progress;
};

// This machine alone is a cluster then. kAlreadyExists: it is in one.
Status InitCluster(const FormingOptions& options);
// With a token of `gemel cluster invite`; wanted.role says as what.
Status JoinCluster(const std::string& token, const FormingOptions& options);
// Takes this machine out: the others know, its services are stopped, its file is gone, its secrets too;
// etcd's data is kept beside, renamed. `destroy`: it is the last, and nobody is asked. kFailedPrecondition
// if it was not drained, or has machines of the cluster, unless `force`.
Status LeaveCluster(const std::string& config_path, bool destroy, bool force);

// What the cluster keeps in etcd, to a new file.
Status BackupCluster(const std::string& config_path, const std::string& file);
// The cluster of this node begins anew, with this node alone and what `file` has, in an incarnation above
// that of the file, all that this node has seen, and `above`. kFailedPrecondition if other members answer,
// unless `force`. The others join anew.
Status RestoreCluster(const std::string& config_path, const std::string& file, std::uint64_t above,
                      bool force);

}  // namespace gemel::member
