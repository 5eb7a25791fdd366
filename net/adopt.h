// Finds out what a descriptor is and makes the backend that fits.
#pragma once
#include <memory>

#include "base/result.h"
#include "base/unique_fd.h"
#include "net/net_backend.h"

namespace gemel::net {

// A tap or macvtap, or a Unix socket: packets or a stream, connected or listening (a stream alone).
// kInvalidArgument, saying what it is instead. Control plane: system calls that a worker's sandbox
// need not allow.
Result<std::unique_ptr<NetBackend>> AdoptBackend(UniqueFd fd);

}  // namespace gemel::net
