// The header in front of every frame between a guest and its network (virtio 1.2, section 5.1.6;
// Linux's struct virtio_net_hdr_v1, which taps speak too). All little-endian.
#pragma once
#include <cstddef>
#include <cstdint>

#include "net/net_backend.h"

namespace gemel::net {

struct [[gnu::packed]] FrameHeader {
  std::uint8_t flags;
  std::uint8_t gso_type;
  std::uint16_t hdr_len;      // bytes of headers to repeat in each segment
  std::uint16_t gso_size;     // bytes of payload in each segment
  std::uint16_t csum_start;   // where the sum begins
  std::uint16_t csum_offset;  // where in that part the sum belongs
  std::uint16_t num_buffers;  // received frames: chains that this one fills
};
static_assert(sizeof(FrameHeader) == 12);
static_assert(offsetof(FrameHeader, gso_type) == 1);
static_assert(offsetof(FrameHeader, num_buffers) == 10);

// flags
inline constexpr std::uint8_t kFlagNeedsChecksum = 1;
inline constexpr std::uint8_t kFlagDataValid = 2;

// gso_type
inline constexpr std::uint8_t kGsoNone = 0;
inline constexpr std::uint8_t kGsoTcp4 = 1;
inline constexpr std::uint8_t kGsoUdp = 3;
inline constexpr std::uint8_t kGsoTcp6 = 4;
inline constexpr std::uint8_t kGsoUdpL4 = 5;
inline constexpr std::uint8_t kGsoEcn = 0x80;  // beside a TCP type

inline constexpr std::size_t kEthernetHeaderBytes = 14;

// Whether a frame of `frame_bytes` (without header) may be sent on with this header, which was the
// guest's: it asks for nothing but `allowed`, and its sum lies inside the frame. Clears what means
// nothing in this direction (5.1.6.2). Pure.
bool CheckTransmitHeader(FrameHeader& header, std::size_t frame_bytes, Offloads allowed);

}  // namespace gemel::net
