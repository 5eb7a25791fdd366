// A stream socket as a backend: each frame behind its length, 4 bytes big-endian, without a header.
// QEMU's `-netdev stream` and passt speak the same.
//
//   +----------------+-------------+----------------+------
//   | length (be32)  | frame       | length         | …
//   +----------------+-------------+----------------+------
#pragma once
#include <memory>

#include "base/result.h"
#include "base/unique_fd.h"
#include "net/net_backend.h"

namespace gemel::net {

// Takes the socket over and makes it non-blocking. A listening one serves one client at a time, and
// frames are lost while there is none; a connected one is over when its other end closes. A client
// that sends a length of 0 or past kMaxFrameBytes is hung up on.
Result<std::unique_ptr<NetBackend>> AdoptStreamSocket(UniqueFd fd, bool listening);

}  // namespace gemel::net
