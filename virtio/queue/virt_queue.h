// The device's side of one split virtqueue (virtio 1.2, section 2.7), with indirect descriptors
// (2.7.5.3) and event index (2.7.7, 2.7.10). Packed rings are not implemented.
//
// Everything in the rings is the guest's and may change at any moment: each descriptor is copied
// once, then checked, then used. A ring that breaks the rules gives a QueueError and stays broken:
// the device calls Activation::needs_reset and stops; nothing allocates or logs on the way.
//
// One thread: the worker that the queue was moved to. The usual loop, which cannot miss a kick:
//
//   do {
//     queue.DisableNotification();
//     while (backend.HasRoom()) {                // ask before popping: there is no un-pop
//       auto popped = queue.Pop();
//       if (!popped) return Broken(popped.error());
//       if (!*popped) break;                     // empty
//       Start(std::move(**popped));              // ... std::move(chain).Complete(written) now or
//       later
//     }
//   } while (backend.HasRoom() && queue.EnableNotification());  // true: more came meanwhile
//   if (queue.NeedsInterrupt()) interrupt->Trigger();
//
// A device without room leaves kicks off and runs the loop again when a completion has made room.
#pragma once
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "vmm/memory/guest_memory.h"

namespace gemel::virtio {

// The ring's own feature bits (virtio 1.2, section 6).
inline constexpr std::uint64_t kFeatureIndirectDesc = 1ull << 28;
inline constexpr std::uint64_t kFeatureEventIdx = 1ull << 29;

enum class QueueError : std::uint8_t {
  kBadAvailIndex,  // the available index is further ahead than the queue is long
  kBadDescriptor,  // a descriptor index past the table, or a head that is in flight already
  kBadIndirect,    // an indirect table of a bad size or place, nested, or not negotiated
  kBadBuffer,      // a buffer that is not all RAM
  kBadOrder,       // a device-readable descriptor after a device-writable one (2.7.4.2)
  kTooLong,        // a loop, more segments than the queue allows, or 2^32 bytes and more (2.7.5.1)
  kByKernel,       // what the kernel, which serves the queue (vhost), does not explain
};
const char* ToString(QueueError error);

class VirtQueue;

// A chain taken from the available ring. Move-only. Complete() gives it back; destruction without
// it gives it back with length 0, so that no early return costs the guest a buffer. Chains must be
// gone before their queue is.
class DescriptorChain {
 public:
  DescriptorChain(DescriptorChain&& other) noexcept
      : queue_(std::exchange(other.queue_, nullptr)),
        segments_(other.segments_),
        readable_(other.readable_),
        writable_(other.writable_),
        head_(other.head_) {}
  DescriptorChain& operator=(DescriptorChain&& other) noexcept;
  ~DescriptorChain() {
    if (queue_ != nullptr) Drop();
  }

  // Host iovecs of the chain's buffers, valid for the chain's life. All of it is guest RAM. Their
  // bytes may change at any time: copy with CopyFrom, or hand them to the kernel.
  std::span<const iovec> readable() const { return {segments_, readable_}; }
  std::span<const iovec> writable() const { return {segments_ + readable_, writable_}; }
  std::uint16_t head() const { return head_; }

  // Gives the chain back to the driver with `written` bytes in its writable part (2.7.8.2: no more
  // than are there). The driver sees it at once; whether to interrupt it is NeedsInterrupt's to
  // say.
  void Complete(std::uint32_t written) &&;

 private:
  friend class VirtQueue;
  DescriptorChain(VirtQueue* queue, std::uint16_t head, const iovec* segments,
                  std::uint32_t readable, std::uint32_t writable)
      : queue_(queue), segments_(segments), readable_(readable), writable_(writable), head_(head) {}
  void Drop();

  VirtQueue* queue_;       // outlives the chain, see above
  const iovec* segments_;  // in the queue's preallocated slots: readable ones, then writable
  std::uint32_t readable_, writable_;  // how many
  std::uint16_t head_;
};

// Where the driver put a queue, as it told the transport.
struct QueueLayout {
  std::uint16_t size = 0;  // a power of two, at most the device's maximum
  GuestAddress descriptors, driver_ring, device_ring;
};

// As numbers: nobody here follows them.
struct RingAddresses {
  std::uint64_t descriptors = 0, driver_ring = 0, device_ring = 0;
};

class VirtQueue {
 public:
  // `max_segments`: how many host iovecs a chain may have. Storage for size() chains of that many
  // is reserved here, and touched only as far as chains are in flight at once; nothing allocates
  // later. kInvalidArgument, naming the value, for a size that is not a power of two from 1 to
  // 32768, for misaligned rings (2.7: 16, 2, 4) and for rings outside RAM or across two regions of
  // it. `features` are the negotiated ones; kFeatureIndirectDesc and kFeatureEventIdx matter.
  // `memory` outlives the queue.
  static Result<std::unique_ptr<VirtQueue>> Create(const GuestMemory& memory,
                                                   const QueueLayout& layout,
                                                   std::uint64_t features,
                                                   std::uint16_t max_segments);
  ~VirtQueue();  // CHECKs that no chain is outstanding

  // The next chain; empty if the driver has offered none. After an error every further call gives
  // it, and chains in flight may still be completed.
  std::expected<std::optional<DescriptorChain>, QueueError> Pop();

  // Asks the driver not to kick (2.7.10; a hint).
  void DisableNotification();
  // Asks for kicks again; true if chains came meanwhile, and then none may be waited for. False
  // after an error.
  bool EnableNotification();
  // Chains completed between these two become visible to the driver at once, in the order of their
  // completion: for what fills several (5.1.6.4), and for batches. NeedsInterrupt comes after them.
  void HoldUsed();
  void PublishUsed();
  // Whether the driver wants an interrupt for what was completed since the last call (2.7.7.2).
  // Call it once a batch. Includes the full fence between publishing the used index and reading the
  // event index.
  bool NeedsInterrupt();

  std::uint16_t size() const;
  std::uint16_t in_flight() const;
  // Where the rings lie in this process, for a data path in the kernel (vhost) that serves the queue
  // instead of these calls: none of them but size() may be made then.
  RingAddresses Rings() const;

 private:
  friend class DescriptorChain;
  struct State;
  explicit VirtQueue(std::unique_ptr<State> state);
  void Return(std::uint16_t head, std::uint32_t written);

  std::unique_ptr<State> state_;
};

// Copies from guest buffers into `out`, each byte once; returns how many (less than out.size() if
// the buffers are shorter). `skip` bytes at the front are passed over.
std::size_t CopyFromIov(std::span<const iovec> from, std::size_t skip, std::span<std::byte> out);
// Copies `in` into guest buffers after `skip` bytes; returns how many fitted.
std::size_t CopyToIov(std::span<const iovec> to, std::size_t skip, std::span<const std::byte> in);
// Cuts `length` bytes after `skip` out of `iov` into `out`; returns how many of `out` are in use.
// Fewer bytes than wanted if the buffers, or `out`, are too short.
std::size_t CutIov(std::span<const iovec> iov, std::size_t skip, std::size_t length,
                   std::span<iovec> out);
// Bytes in all the buffers.
std::uint64_t IovLength(std::span<const iovec> iov);

}  // namespace gemel::virtio
