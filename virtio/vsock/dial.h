// How a VM's process asks for a connection to a socket of the host: it opens nothing itself.
//
// A guest that connects to port P of the host is to reach the socket "<path>_P". The device sends a
// request over a SOCK_SEQPACKET socket to whoever started the VM; that one connects, and sends the
// connected socket back. A request is 8 bytes, id and port; a reply 8 bytes, id and errno, with one
// descriptor beside it if errno is 0. All little-endian. Nothing here waits. Any thread.
#pragma once
#include <cstdint>
#include <optional>

#include "base/fd_message.h"
#include "base/unique_fd.h"

namespace gemel::virtio {

struct VsockDialRequest {
  std::uint32_t id = 0;  // the asker's; comes back in the reply
  std::uint32_t port = 0;
};

struct VsockDialReply {
  std::uint32_t id = 0;
  int error = 0;  // errno; 0: `fd` is connected
  UniqueFd fd;
};

using VsockDialState = FdMessageState;

VsockDialState SendDialRequest(int socket, const VsockDialRequest& request);
VsockDialState ReceiveDialRequest(int socket, VsockDialRequest& request);
// Sends a copy of the reply's descriptor.
VsockDialState SendDialReply(int socket, const VsockDialReply& reply);
// A reply that breaks the rules is as good as the other end's being gone.
VsockDialState ReceiveDialReply(int socket, VsockDialReply& reply);

}  // namespace gemel::virtio
