// What a chain of the transmit queue holds (virtio 1.2, section 5.10.6). Pure: no I/O, no state.
#pragma once
#include <sys/uio.h>

#include <optional>
#include <span>

#include "virtio/vsock/config_space.h"

namespace gemel::virtio {

// The header, read from guest memory once; its payload lies behind it. Empty if the chain is
// shorter than a header, or than the header says.
std::optional<VsockHeader> ParseVsockPacket(std::span<const iovec> readable);

}  // namespace gemel::virtio
