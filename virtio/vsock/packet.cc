#include "virtio/vsock/packet.h"

#include "virtio/queue/virt_queue.h"

namespace gemel::virtio {

std::optional<VsockHeader> ParseVsockPacket(std::span<const iovec> readable) {
  VsockHeader header;
  if (CopyFromIov(readable, 0, std::as_writable_bytes(std::span(&header, 1))) != sizeof header)
    return std::nullopt;
  if (IovLength(readable) - sizeof header < header.length) return std::nullopt;
  return header;
}

}  // namespace gemel::virtio
