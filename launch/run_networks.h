// Opens the host's ends of a VM's networks, all but user networking's, and settles the addresses of
// its cards.
#pragma once
#include <string>

#include "base/result.h"
#include "vmm/config/machine_config.h"
#include "vmm/config/net_fds.h"

namespace gemel::launch {

struct HostNetwork {
  NetFds fds;
  std::string new_socket;  // a path that we listen at, to be removed in the end
};

// Opens config.nets[index], of any kind but kUser, whose descriptors the caller has. A network
// without an address gets one, which stays the same for this host, machine and end (a macvtap's is
// the interface's). Errors are ready for the user. Descriptors named by fd= are taken over: their
// numbers are free afterwards.
Result<HostNetwork> OpenHostNetwork(MachineConfig& config, std::size_t index);

// Has the host's kernel move the frames of an opened network (vhost-net), if vhost=on says so, or by
// itself where it can do all that was asked for and this process may. REQUIRES: fds.queues.
Status OpenVhost(const NetConfig& net, NetFds& fds);

// The address alone, of a network of kind kUser.
void SettleAddress(MachineConfig& config, std::size_t index);

}  // namespace gemel::launch
