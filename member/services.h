// The programs of a member as services of systemd's. Without it, starting them is somebody else's.
#pragma once
#include <string>

#include "base/result.h"
#include "cluster/config/cluster_config.h"

namespace gemel::member {

// systemctl, or what GEMEL_SYSTEMCTL names (for tests); empty: this machine has no systemd.
std::string Systemctl();
// Now, and at each boot. An error names the unit.
Status StartServices(cluster::Role role);
Status StopServices(cluster::Role role);

// gemel-member of a node alone: its keeper runs on.
Status StartMember();
Status StopMember();

}  // namespace gemel::member
