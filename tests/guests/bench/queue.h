// The driver's side of a split virtqueue. Chains are built by its owner in descriptors(), once.
#pragma once
#include <cstdint>

#include "tests/guests/bench/device.h"
#include "virtio/queue/split_ring.h"

namespace bench {

using gemel::virtio::Descriptor;

inline constexpr std::uint16_t kMaxQueueSize = 1024;

class Queue {
 public:
  // Gives the device queue `index`, as long as it can be (in 2^n), at most kMaxQueueSize. With
  // `interrupts` MSI-X message 0 is this queue's. False if the device has no such queue.
  bool SetUp(const Device& device, std::uint16_t index, std::uint64_t features, bool interrupts);

  Descriptor* descriptors() { return descriptors_; }
  std::uint16_t size() const { return size_; }
  std::uint64_t kicks() const { return kicks_; }

  // Puts the chain into the ring; the device sees it after Publish.
  void Offer(std::uint16_t head);
  // Shows the device all that was offered, and kicks it if it wants that.
  void Publish();

  struct Used {
    std::uint32_t head;
    std::uint32_t length;
  };
  bool has_used() const;
  // REQUIRES: has_used().
  Used Take();

  // From here on the device interrupts when it has used a chain. False if it already has.
  bool AskForInterrupt();
  void RefuseInterrupts();

 private:
  std::uint16_t AvailEvent() const;

  alignas(4096) Descriptor descriptors_[kMaxQueueSize] = {};
  struct {
    std::uint16_t flags;
    std::uint16_t index;
    std::uint16_t ring[kMaxQueueSize + 1];  // and used_event
  } available_ = {};
  alignas(64) struct {
    std::uint16_t flags;
    std::uint16_t index;
    gemel::virtio::UsedElement ring[kMaxQueueSize + 1];  // and avail_event
  } used_ = {};

  Register notify_;
  std::uint16_t index_ = 0;
  std::uint16_t size_ = 0;
  bool event_index_ = false;
  std::uint16_t next_available_ = 0, published_ = 0;
  std::uint16_t next_used_ = 0;
  std::uint64_t kicks_ = 0;
};

}  // namespace bench
