#include "net/frame_header.h"

namespace gemel::net {
namespace {

// The offload that a gso_type needs; 0 for types that are not.
Offloads OffloadOf(std::uint8_t gso_type) {
  switch (gso_type) {
    case kGsoTcp4:
      return kTso4;
    case kGsoTcp6:
      return kTso6;
    case kGsoTcp4 | kGsoEcn:
      return kTso4 | kTsoEcn;
    case kGsoTcp6 | kGsoEcn:
      return kTso6 | kTsoEcn;
    case kGsoUdp:
      return kUfo;
    case kGsoUdpL4:
      return kUso;
    default:
      return 0;
  }
}

}  // namespace

bool CheckTransmitHeader(FrameHeader& header, std::size_t frame_bytes, Offloads allowed) {
  if (frame_bytes < kEthernetHeaderBytes || frame_bytes > kMaxFrameBytes) return false;
  header.num_buffers = 0;
  header.flags &= kFlagNeedsChecksum;
  if ((header.flags & kFlagNeedsChecksum) != 0) {
    const std::size_t end = std::size_t{header.csum_start} + header.csum_offset + 2;
    if ((allowed & kChecksum) == 0 || end > frame_bytes) return false;
  } else {
    header.csum_start = 0;
    header.csum_offset = 0;
  }
  if (header.gso_type == kGsoNone) {
    header.gso_size = 0;
    return true;
  }
  const Offloads needed = OffloadOf(header.gso_type);
  return needed != 0 && (allowed & needed) == needed && header.gso_size != 0;
}

}  // namespace gemel::net
