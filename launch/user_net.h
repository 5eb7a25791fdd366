// The user network of a VM: a gemel-slirp of its own, and the VM's end of the socket to it.
#pragma once
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "launch/child_process.h"
#include "vmm/config/net_config.h"

namespace gemel::launch {

struct UserNet {
  ChildProcess process;  // ends by itself once nobody has the VM's end any more
  UniqueFd vm_end;       // a frame a message; non-blocking
};

// Starts gemel-slirp and waits until it serves, its forwarded ports bound. `net` is of kind kUser and
// has passed Validate. What the user can put right (a port in use) is said as they wrote it:
// "net: hostfwd: tcp:127.0.0.1:2222: Address already in use".
Result<UserNet> StartUserNet(const std::string& vm_name, const NetConfig& net);

// The words of --net that mean `net`, as far as they concern gemel-slirp. ParseNet reads them back.
std::string UserNetWords(const NetConfig& net);

}  // namespace gemel::launch
