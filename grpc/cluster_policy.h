// A machine's failover as the API says it, as policy's words. Pure.
#pragma once
#include <cstdint>
#include <string_view>

#include "cluster/policy.h"
#include "grpc/api_error.h"
#include "proto/gemel/v1/virtual_machines.pb.h"

namespace gemel::daemon {

// `preferred` and `apart`: the numbers of preferred_node and of anti_affinity_group; 0: none.
cluster::VmPolicy ToPolicy(const v1::FailoverSpec& spec, cluster::NodeId preferred,
                           std::uint32_t apart);
// What of a machine could not be failed over, or makes no sense; kInvalidArgument naming
// "<prefix>.<field>" and its value. Without its preferred_node, which the cluster knows.
ApiResult<void> CheckFailover(const v1::VirtualMachineSpec& spec, std::string_view prefix);
// Whether it writes to a disk that takes writes from whoever reaches it: then silence is not enough to
// take it over.
bool RefusesNobody(const v1::VirtualMachineSpec& spec);
// "no-capacity"
std::string_view WhyWord(cluster::Placement::Why why);

}  // namespace gemel::daemon
