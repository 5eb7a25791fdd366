// The open descriptors of one network device (vmm/config/net_config.h). Whoever may open them hands
// them to the VM's process.
#pragma once
#include <vector>

#include "base/unique_fd.h"

namespace gemel {

struct NetFds {
  // One a queue pair. kTap, kMacvtap: non-blocking tap descriptors. kUser: one end of a socket pair
  // that keeps messages apart, a frame each. kSocket: a stream socket, connected or listening.
  // kFd: any of these.
  std::vector<UniqueFd> queues;
  // One a queue pair, /dev/vhost-net; empty: frames go through the VM's process.
  std::vector<UniqueFd> vhost;
  // With vhost: of net::OpenInterfaceCounters; empty: what the kernel moves is not counted.
  std::vector<UniqueFd> counters;
};

}  // namespace gemel
