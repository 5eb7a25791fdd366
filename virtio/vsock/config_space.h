// The socket device's wire formats (virtio 1.2, sections 5.10.3 to 5.10.6): configuration space and
// packet header. All little-endian.
#pragma once
#include <cstddef>
#include <cstdint>

namespace gemel::virtio {

// Feature bits (5.10.3). SEQPACKET is not implemented.
inline constexpr std::uint64_t kVsockFeatureStream = 1ull << 0;

// Queue numbers (5.10.2).
inline constexpr std::uint16_t kVsockRxQueue = 0;
inline constexpr std::uint16_t kVsockTxQueue = 1;
inline constexpr std::uint16_t kVsockEventQueue = 2;

inline constexpr std::uint64_t kVsockHostCid = 2;        // 5.10.4
inline constexpr std::uint32_t kVsockLeastGuestCid = 3;  // 0 to 2 are reserved
// 5.10.4: the upper 32 bits are 0; 0xffffffff is "any" to sockets.
inline constexpr std::uint32_t kVsockMostGuestCid = 0xffff'fffe;

// struct virtio_vsock_config (5.10.4).
struct [[gnu::packed]] VsockConfigSpace {
  std::uint64_t guest_cid;
};
static_assert(sizeof(VsockConfigSpace) == 8);

// 5.10.6.4.
inline constexpr std::uint16_t kVsockTypeStream = 1;

enum class VsockOp : std::uint16_t {
  kInvalid = 0,
  kRequest = 1,
  kResponse = 2,
  kReset = 3,
  kShutdown = 4,
  kData = 5,  // RW
  kCreditUpdate = 6,
  kCreditRequest = 7,
};

// Flags of kShutdown (5.10.6.6): hints that hold for the rest of the connection.
inline constexpr std::uint32_t kVsockNoReceive = 1;
inline constexpr std::uint32_t kVsockNoSend = 2;
inline constexpr std::uint32_t kVsockNoMore = kVsockNoReceive | kVsockNoSend;

// struct virtio_vsock_hdr (5.10.6); `length` bytes of payload follow it in the same chain, split
// over descriptors in any way.
struct [[gnu::packed]] VsockHeader {
  std::uint64_t source_cid = 0;
  std::uint64_t target_cid = 0;
  std::uint32_t source_port = 0;
  std::uint32_t target_port = 0;
  std::uint32_t length = 0;
  std::uint16_t type = kVsockTypeStream;
  std::uint16_t op = 0;
  std::uint32_t flags = 0;
  std::uint32_t buffer_size = 0;      // buf_alloc: of the sender, for this connection
  std::uint32_t forwarded_count = 0;  // fwd_cnt: bytes that have left that buffer
};
static_assert(offsetof(VsockHeader, source_port) == 16);
static_assert(offsetof(VsockHeader, type) == 28);
static_assert(offsetof(VsockHeader, flags) == 32);
static_assert(sizeof(VsockHeader) == 44);

}  // namespace gemel::virtio
