// The driver's side of a split virtqueue, for tests: it lays rings out in guest memory, offers
// chains and takes them back, as section 2.7 of the spec tells a driver to. Every field can be
// bent.
//
//   FakeDriverQueue driver(*memory, 16);
//   GuestAddress reply;
//   DescriptorChainBuilder(driver).AppendReadable("question").AppendWritable(64, &reply).Build();
//   ... the device works ...
//   auto used = driver.TakeUsed();
//
// One thread, which may be another than the device's.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "virtio/queue/split_ring.h"
#include "virtio/queue/virt_queue.h"
#include "vmm/memory/guest_memory.h"

namespace gemel::testing {

class FakeDriverQueue {
 public:
  // Lays the rings out from `base` on in `memory`, which outlives this; buffers come
  // from the rest of the region after them, round and round.
  FakeDriverQueue(const GuestMemory& memory, std::uint16_t size,
                  GuestAddress base = GuestAddress{0x1000});

  const GuestMemory& memory() const { return *memory_; }
  const virtio::QueueLayout& layout() const { return layout_; }
  std::uint16_t size() const { return layout_.size; }

  // ---- offering
  // ----------------------------------------------------------------------------------- Guest
  // memory of `bytes`, 16-aligned. Not freed: the area is reused from its start when it is full.
  GuestAddress Allocate(std::uint64_t bytes);
  // A descriptor that no chain uses. CHECKs that there is one.
  std::uint16_t AllocateDescriptor();
  std::size_t free_descriptors() const { return free_.size(); }
  void SetDescriptor(std::uint16_t index, const virtio::Descriptor& descriptor);
  virtio::Descriptor GetDescriptor(std::uint16_t index) const;
  // Puts `head` into the driver ring and publishes it.
  void Offer(std::uint16_t head);
  // Remembers that these descriptors are free again once `head` is used.
  void Own(std::uint16_t head, std::vector<std::uint16_t> descriptors);

  // ---- taking back
  // -------------------------------------------------------------------------------- The next used
  // element, in order; its descriptors are free again.
  std::optional<virtio::UsedElement> TakeUsed();
  std::uint16_t used_index() const;

  // ---- notifications
  // ------------------------------------------------------------------------------ Whether a driver
  // would kick for what it offered since the last call, with and without event index.
  bool ShouldKick(bool event_idx);
  std::uint16_t used_flags() const;
  std::uint16_t avail_event() const;
  void SetAvailFlags(std::uint16_t flags);
  void SetUsedEvent(std::uint16_t event);

  // ---- bending ----------------------------------------------------------------------------------
  std::uint16_t avail_index() const { return avail_index_; }
  void SetAvailIndex(std::uint16_t index);
  void SetAvailEntry(std::uint16_t place, std::uint16_t head);

  std::vector<std::byte> ReadGuest(GuestAddress at, std::size_t bytes) const;
  void WriteGuest(GuestAddress at, std::span<const std::byte> bytes) const;

 private:
  struct Chain {
    std::uint16_t head;
    std::vector<std::uint16_t> descriptors;
  };

  const GuestMemory* memory_;
  virtio::QueueLayout layout_;
  GuestAddress buffers_, buffers_end_, next_buffer_;
  std::vector<std::uint16_t> free_;
  std::vector<Chain> chains_;
  std::uint16_t avail_index_ = 0;
  std::uint16_t kicked_index_ = 0;
  std::uint16_t used_taken_ = 0;
};

// Puts one chain together, in the order that it is to have (2.7.4.2 asks for readable before
// writable; the builder does not insist).
class DescriptorChainBuilder {
 public:
  explicit DescriptorChainBuilder(FakeDriverQueue& queue) : queue_(queue) {}

  DescriptorChainBuilder& AppendReadable(std::span<const std::byte> bytes);
  DescriptorChainBuilder& AppendReadable(std::string_view text);
  // `*at`, if given, is where the device will write.
  DescriptorChainBuilder& AppendWritable(std::uint32_t bytes, GuestAddress* at = nullptr);
  // A descriptor as it is; NEXT is added where another follows.
  DescriptorChainBuilder& AppendRaw(GuestAddress at, std::uint32_t bytes, std::uint16_t flags);
  // Puts everything from here on into one indirect table (2.7.5.3).
  DescriptorChainBuilder& Indirect();

  // Writes the chain and returns its head without offering it.
  std::uint16_t BuildOnly();
  // Writes the chain and offers it.
  std::uint16_t Build();

 private:
  FakeDriverQueue& queue_;
  std::vector<virtio::Descriptor> direct_, table_;
  bool indirect_ = false;
};

}  // namespace gemel::testing
