// A Unix socket that keeps messages apart (SOCK_SEQPACKET or SOCK_DGRAM, connected) as a backend: a
// frame a message, without a header. gemel-slirp is at the other end of one.
#pragma once
#include <memory>

#include "base/result.h"
#include "base/unique_fd.h"
#include "net/net_backend.h"

namespace gemel::net {

// Takes the socket over. Frames go out in batches, one system call each.
std::unique_ptr<NetBackend> AdoptPacketSocket(UniqueFd fd);

}  // namespace gemel::net
