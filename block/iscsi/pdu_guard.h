// Looks at each PDU header of a target before libiscsi does, and refuses what libiscsi 1.19 does not
// check itself: what would make it wait, allocate or send without bound (RFC 7143, section 11).
//
// Pure; one thread.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace gemel::block {

inline constexpr std::size_t kPduHeaderBytes = 48;
// What we offer and never exceed: MaxRecvDataSegmentLength, and MaxBurstLength (RFC 7143, 13.12, 13.13).
inline constexpr std::uint32_t kMaxSegmentBytes = 256 << 10;
inline constexpr std::uint32_t kMaxBurstBytes = 256 << 10;
// What a target may have asked for while our answers wait to be sent.
inline constexpr std::uint32_t kMaxOwedBytes = 64 << 20;

class PduGuard {
 public:
  // The next bytes of the stream, which the caller has in memory. False: the target breaks the
  // rules, and the connection must end. No header digest is agreed on.
  bool Feed(std::span<const std::byte> bytes);
  // The next `count` bytes went elsewhere; they are of a data segment. False as Feed.
  bool Skip(std::size_t count);
  // Nothing waits to be sent.
  void OnDrained() { owed_ = 0; }

  // Data bytes of the PDU in progress that have not come yet, padding included.
  std::size_t data_left() const { return data_left_; }

 private:
  bool CheckHeader();
  bool Owe(std::uint32_t bytes);

  std::array<std::byte, kPduHeaderBytes> header_{};
  std::size_t header_bytes_ = 0;
  std::size_t data_left_ = 0;
  std::uint32_t owed_ = 0;
};

}  // namespace gemel::block
