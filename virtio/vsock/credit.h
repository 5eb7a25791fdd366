// Flow control of one connection (virtio 1.2, section 5.10.6.3): neither side sends more than the
// other has room for. Pure. Counters are free-running and wrap at 2^32.
#pragma once
#include <algorithm>
#include <cstdint>

#include "virtio/vsock/config_space.h"

namespace gemel::virtio {

class VsockCredit {
 public:
  // `buffer_size`: what we hold for the other end at most.
  explicit VsockCredit(std::uint32_t buffer_size) : buffer_size_(buffer_size) {}

  std::uint32_t buffer_size() const { return buffer_size_; }

  // ---- what the guest says of its buffer
  void OnHeader(const VsockHeader& header) {
    guest_buffer_size_ = header.buffer_size;
    guest_forwarded_ = header.forwarded_count;
  }
  // How much the guest has room for. A guest that claims to have forwarded more than it was sent
  // has room for nothing: it can only harm itself.
  std::uint32_t room_in_guest() const {
    const std::uint32_t under_way = sent_ - guest_forwarded_;
    return guest_buffer_size_ > under_way ? guest_buffer_size_ - under_way : 0;
  }
  void OnSent(std::uint32_t bytes) { sent_ += bytes; }

  // ---- what we say of ours
  // False if the guest sends more than we told it there is room for.
  [[nodiscard]] bool OnReceived(std::uint32_t bytes) {
    if (buffer_size_ - (received_ - forwarded_) < bytes) return false;
    received_ += bytes;
    return true;
  }
  void OnForwarded(std::uint32_t bytes) { forwarded_ += bytes; }
  // Writes the two fields; the guest then knows.
  void Stamp(VsockHeader& header) {
    header.buffer_size = buffer_size_;
    header.forwarded_count = forwarded_;
    told_ = forwarded_;
  }
  // Whether the guest believes that less than half of the buffer is free, and there is more.
  bool UpdateDue() const {
    return forwarded_ != told_ && buffer_size_ - (received_ - told_) < buffer_size_ / 2;
  }

 private:
  const std::uint32_t buffer_size_;
  std::uint32_t guest_buffer_size_ = 0;
  std::uint32_t guest_forwarded_ = 0;
  std::uint32_t sent_ = 0;       // to the guest
  std::uint32_t received_ = 0;   // from the guest
  std::uint32_t forwarded_ = 0;  // of those, what has left our buffer
  std::uint32_t told_ = 0;       // forwarded_ as the guest knows it
};

}  // namespace gemel::virtio
