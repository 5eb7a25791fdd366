// A tap or macvtap interface of the host as a backend: one descriptor a queue pair, one system call a
// frame, with the kernel's offloads where the descriptor has them (IFF_VNET_HDR).
#pragma once
#include <memory>

#include "base/result.h"
#include "base/unique_fd.h"
#include "net/net_backend.h"

namespace gemel::net {

// Takes over a descriptor of /dev/net/tun or /dev/tapN that is attached to an interface, and makes it
// non-blocking. kInvalidArgument if it is none, or carries IP packets (a tun).
Result<std::unique_ptr<NetBackend>> AdoptTap(UniqueFd fd);

}  // namespace gemel::net
