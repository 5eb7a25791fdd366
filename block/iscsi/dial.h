// How a disk gets connections to its target: a VM's process opens no socket. Over a SOCK_SEQPACKET
// socket it asks gemel-dial (helpers/dial), a process that can do nothing but connect to the one address
// it was started for; the connected socket comes back. As virtio/vsock/dial.h, without anything to
// choose: a question is 1 byte, an answer 4 (errno, little-endian) with a descriptor beside it if that
// is 0. Nothing here waits. Any thread.
#pragma once
#include "base/fd_message.h"
#include "base/unique_fd.h"

namespace gemel::block {

struct Dialed {
  int error = 0;  // errno; 0: `socket` is connected
  UniqueFd socket;
};

using DialState = FdMessageState;

DialState SendDialQuestion(int socket);
DialState ReceiveDialQuestion(int socket);
// Sends a copy of the descriptor.
DialState SendDialAnswer(int socket, const Dialed& answer);
// An answer that breaks the rules is as good as the other end's being gone.
DialState ReceiveDialAnswer(int socket, Dialed& answer);

}  // namespace gemel::block
