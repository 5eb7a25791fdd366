// The socket device (virtio 1.2, section 5.10): streams between programs in the guest and Unix
// sockets on the host, by the rules that users of Firecracker and Cloud Hypervisor know:
//  * a program on the host connects to the VM's socket, says "CONNECT <port>\n", and reads "OK
//    <port>\n" once the guest has accepted; from there on the bytes are the stream's.
//  * a program in the guest connects to port P of CID 2 and reaches the socket "<path>_P", which
//    whoever started the VM connects to for us (dial.h).
// A stream's two directions end independently.
//
// Not implemented: SEQPACKET; the event queue is never used, because nothing moves yet.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "virtio/device.h"
#include "virtio/vsock/switchboard.h"

namespace gemel::virtio {

// kInvalidArgument for a guest_cid that is not from kVsockLeastGuestCid to kVsockMostGuestCid.
Result<std::unique_ptr<VirtioDevice>> CreateVsock(VsockSwitchboard::Options options);

}  // namespace gemel::virtio
