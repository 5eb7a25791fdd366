// The VM's end of the network: a socket that keeps messages apart, one Ethernet frame each.
//
// Frames to the guest wait here while its socket is full, as many as fit in a bounded buffer; the
// rest are lost, as on any link. One thread.
#pragma once
#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "base/unique_fd.h"

namespace gemel::usernet {

// 65535 bytes of IP, the Ethernet header, a VLAN tag.
inline constexpr std::size_t kMaxFrameBytes = 65535 + 14 + 4;
inline constexpr std::size_t kMaxWaitingBytes = 1 << 20;

class GuestLink {
 public:
  enum class Received : std::uint8_t {
    kFrame,
    kNothing,   // none is there now
    kTooLarge,  // a message that is no frame; it is gone
    kClosed,    // the VM has ended
  };

  // `fd` is a connected SOCK_SEQPACKET or SOCK_DGRAM socket.
  explicit GuestLink(UniqueFd fd) : fd_(std::move(fd)), buffer_(kMaxFrameBytes + 1) {}

  int fd() const { return fd_.get(); }

  // The next frame; valid until the next call. Never blocks.
  Received Receive(std::span<const std::byte>& frame);
  // Sends a frame, or keeps it for Flush, or drops it if more than kMaxWaitingBytes would wait.
  void Send(std::span<const std::byte> frame);
  // Sends what waits, as far as there is room.
  void Flush();

  bool waiting() const { return waiting_bytes_ > 0; }
  // So much waits that nothing should be fetched for the guest.
  bool congested() const { return waiting_bytes_ > kMaxWaitingBytes / 2; }
  std::uint64_t dropped() const { return dropped_; }

 private:
  enum class Sent : std::uint8_t { kDone, kFull, kLost };
  Sent TrySend(std::span<const std::byte> frame) const;

  UniqueFd fd_;
  std::vector<std::byte> buffer_;
  std::deque<std::vector<std::byte>> waiting_;
  std::size_t waiting_bytes_ = 0;
  std::uint64_t dropped_ = 0;
};

}  // namespace gemel::usernet
