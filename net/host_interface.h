// Opening the host's ends of networks: for whoever may (gemel run, the daemon), never in the VM's
// process. Errors say what is wrong and, behind a zero byte, what to do about it (cli/report.h).
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace gemel::net {

struct TapRequest {
  std::string name;
  std::uint32_t queues = 1;
  std::uint32_t mtu = 0;  // 0: as it is
};

// Attaches `queues` descriptors to the tap interface, which is made (and goes with its descriptors)
// if there is none. The interface is brought up, and given its MTU, where that may be done; that an
// MTU cannot be set is an error, unless it is that already.
Result<std::vector<UniqueFd>> OpenTapInterface(const TapRequest& request);

// The same for a macvtap interface that is there: /dev/tapN of its index.
Result<std::vector<UniqueFd>> OpenMacvtapInterface(const TapRequest& request);

// The link-layer address of an interface, as "02:…".
Result<std::string> InterfaceAddress(const std::string& name);

// The first of two connects to whom the second finds listening at `path`; a socket that nobody
// listens on any more is replaced. `*listening` tells which one this is.
Result<UniqueFd> OpenSocketPath(const std::string& path, bool* listening);

}  // namespace gemel::net
