#include "virtio/queue/virt_queue.h"

#include <atomic>
#include <bit>

#include "base/check.h"
#include "virtio/queue/chain_walk.h"
#include "virtio/queue/split_ring.h"

namespace gemel::virtio {
namespace {

constexpr std::uint16_t kNoSlot = 0xffff;

// ThreadSanitizer does not know fences; it does know a read-modify-write.
void FullFence() {
#if defined(__SANITIZE_THREAD__)
  static std::atomic<int> fence;
  fence.fetch_add(0, std::memory_order_seq_cst);
#else
  std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
}

// The fields of a driver or device ring, by offset, as single atomic accesses.
class RingBytes {
 public:
  RingBytes() = default;
  explicit RingBytes(std::byte* base) : base_(base) {}

  std::uint16_t Load16(std::size_t offset) const {
    return __atomic_load_n(At<std::uint16_t>(offset), __ATOMIC_RELAXED);
  }
  std::uint16_t LoadAcquire16(std::size_t offset) const {
    return __atomic_load_n(At<std::uint16_t>(offset), __ATOMIC_ACQUIRE);
  }
  void Store16(std::size_t offset, std::uint16_t value) const {
    __atomic_store_n(At<std::uint16_t>(offset), value, __ATOMIC_RELAXED);
  }
  void StoreRelease16(std::size_t offset, std::uint16_t value) const {
    __atomic_store_n(At<std::uint16_t>(offset), value, __ATOMIC_RELEASE);
  }
  void Store32(std::size_t offset, std::uint32_t value) const {
    __atomic_store_n(At<std::uint32_t>(offset), value, __ATOMIC_RELAXED);
  }

 private:
  template <class T>
  T* At(std::size_t offset) const {
    using Alias [[gnu::may_alias]] = T;
    // SAFETY: Create has checked that the whole ring is RAM of one region and aligned for its
    // fields.
    return reinterpret_cast<Alias*>(base_ + offset);
  }
  std::byte* base_ = nullptr;
};

Status CheckPart(const GuestMemory& memory, const char* what, GuestAddress at, std::size_t bytes,
                 std::size_t alignment) {
  if (at.value % alignment != 0)
    return InvalidArgument("{} at {:#x} is not {}-byte aligned", what, at.value, alignment);
  if (memory.HostRange(at, bytes).empty())
    return InvalidArgument("{} at {:#x}+{:#x} is not RAM", what, at.value, bytes);
  return {};
}

Status CheckLayout(const GuestMemory& memory, const QueueLayout& layout) {
  const std::size_t size = layout.size;
  if (!std::has_single_bit(size) || size > kMaxQueueSize)
    return InvalidArgument("queue size {} is not a power of two from 1 to {}", size, kMaxQueueSize);
  RETURN_IF_ERROR(CheckPart(memory, "descriptor table", layout.descriptors,
                            DescriptorTableBytes(size), kDescriptorAlignment));
  RETURN_IF_ERROR(CheckPart(memory, "driver ring", layout.driver_ring, DriverRingBytes(size),
                            kDriverRingAlignment));
  return CheckPart(memory, "device ring", layout.device_ring, DeviceRingBytes(size),
                   kDeviceRingAlignment);
}

}  // namespace

const char* ToString(QueueError error) {
  switch (error) {
    case QueueError::kBadAvailIndex:
      return "available index further ahead than the queue is long";
    case QueueError::kBadDescriptor:
      return "descriptor index past the table, or a head that is in flight";
    case QueueError::kBadIndirect:
      return "bad indirect table";
    case QueueError::kBadBuffer:
      return "buffer that is not RAM";
    case QueueError::kBadOrder:
      return "device-readable descriptor after a device-writable one";
    case QueueError::kTooLong:
      return "chain too long, or a loop";
    case QueueError::kByKernel:
      return "broken, as the kernel's vhost says";
  }
  return "unknown error";
}

// The rings' host pointers are the one exception to "no pointer into guest RAM outlives an
// expression": they are resolved once, in Create, because GuestMemory never changes; every access
// through them is a single atomic one (RingBytes, WalkChain).
struct VirtQueue::State {
  const GuestMemory* memory;  // outlives the queue
  QueueLayout layout;
  ChainTable table;
  RingBytes driver_ring, device_ring;
  std::uint16_t mask;
  std::uint16_t max_segments;
  bool event_idx;

  std::optional<QueueError> error;
  std::uint16_t next_avail = 0;  // the entry to pop next
  std::uint16_t seen_avail = 0;  // the driver's index as last loaded, never behind next_avail
  // Entries published, and how many were at the last NeedsInterrupt. The low 16 bits are the ring's
  // idx; the rest tells a batch that went all the way round from none.
  std::uint32_t used_total = 0;
  std::uint32_t used_total_asked = 0;
  bool used_held = false;  // completed chains wait for PublishUsed

  // Slot storage: max_segments iovecs a slot. Slots are taken last-in first-out, so that memory a
  // queue never needs is never touched.
  std::unique_ptr<iovec[]> segments;
  std::unique_ptr<std::uint16_t[]> free_slots;  // a stack of `free_count`
  std::unique_ptr<std::uint16_t[]> slot_of;     // by head; kNoSlot while not in flight
  std::uint16_t free_count;

  std::expected<std::uint16_t, QueueError> LoadAvailable();
  std::expected<DescriptorChain, QueueError> Take(VirtQueue* queue);
  void PublishIndex();
};

Result<std::unique_ptr<VirtQueue>> VirtQueue::Create(const GuestMemory& memory,
                                                     const QueueLayout& layout,
                                                     std::uint64_t features,
                                                     std::uint16_t max_segments) {
  RETURN_IF_ERROR(CheckLayout(memory, layout));
  if (max_segments == 0) return InvalidArgument("queue with 0 segments a chain");
  const std::size_t size = layout.size;
  auto state = std::make_unique<State>();
  state->memory = &memory;
  state->layout = layout;
  state->table = {
      .memory = &memory,
      .descriptors = memory.HostRange(layout.descriptors, DescriptorTableBytes(size)).data(),
      .queue_size = layout.size,
      .indirect_negotiated = (features & kFeatureIndirectDesc) != 0};
  state->driver_ring =
      RingBytes(memory.HostRange(layout.driver_ring, DriverRingBytes(size)).data());
  state->device_ring =
      RingBytes(memory.HostRange(layout.device_ring, DeviceRingBytes(size)).data());
  state->mask = static_cast<std::uint16_t>(size - 1);
  state->max_segments = max_segments;
  state->event_idx = (features & kFeatureEventIdx) != 0;

  state->segments = std::make_unique_for_overwrite<iovec[]>(size * max_segments);
  state->free_slots = std::make_unique_for_overwrite<std::uint16_t[]>(size);
  state->slot_of = std::make_unique_for_overwrite<std::uint16_t[]>(size);
  state->free_count = layout.size;
  for (std::size_t i = 0; i < size; ++i) {
    state->free_slots[i] = static_cast<std::uint16_t>(size - 1 - i);
    state->slot_of[i] = kNoSlot;
  }
  return std::unique_ptr<VirtQueue>(new VirtQueue(std::move(state)));
}

VirtQueue::VirtQueue(std::unique_ptr<State> state) : state_(std::move(state)) {}

VirtQueue::~VirtQueue() { CHECK(in_flight() == 0); }

std::uint16_t VirtQueue::size() const { return state_->layout.size; }

RingAddresses VirtQueue::Rings() const {
  const auto address = [this](GuestAddress at, std::size_t bytes) {
    // SAFETY: a pointer seen as a number.
    return reinterpret_cast<std::uint64_t>(state_->memory->HostRange(at, bytes).data());
  };
  const QueueLayout& layout = state_->layout;
  return {address(layout.descriptors, DescriptorTableBytes(layout.size)),
          address(layout.driver_ring, DriverRingBytes(layout.size)),
          address(layout.device_ring, DeviceRingBytes(layout.size))};
}

std::uint16_t VirtQueue::in_flight() const {
  return static_cast<std::uint16_t>(state_->layout.size - state_->free_count);
}

// How many entries wait, by the driver's index. The acquire makes the entries, their descriptors
// and what they point at visible.
std::expected<std::uint16_t, QueueError> VirtQueue::State::LoadAvailable() {
  seen_avail = driver_ring.LoadAcquire16(kRingIndex);
  const auto ahead = static_cast<std::uint16_t>(seen_avail - next_avail);
  if (ahead > layout.size) return std::unexpected(QueueError::kBadAvailIndex);
  return ahead;
}

std::expected<DescriptorChain, QueueError> VirtQueue::State::Take(VirtQueue* queue) {
  const std::uint16_t head = driver_ring.Load16(
      kRingEntries + 2 * std::size_t{static_cast<std::uint16_t>(next_avail & mask)});
  if (head >= layout.size || slot_of[head] != kNoSlot)
    return std::unexpected(QueueError::kBadDescriptor);
  // Heads in flight are distinct and there are as many slots as heads, so one is free.
  const std::uint16_t slot = free_slots[free_count - 1];
  iovec* const storage = segments.get() + std::size_t{slot} * max_segments;
  const auto shape = WalkChain(table, head, {storage, max_segments});
  if (!shape) return std::unexpected(shape.error());

  slot_of[head] = slot;
  --free_count;
  ++next_avail;
  return DescriptorChain(queue, head, storage, shape->readable, shape->writable);
}

// 2.7.8.2: the elements are visible before the index that counts them.
void VirtQueue::State::PublishIndex() {
  device_ring.StoreRelease16(kRingIndex, static_cast<std::uint16_t>(used_total));
  memory->MarkDirty(layout.device_ring, kRingEntries);
}

std::expected<std::optional<DescriptorChain>, QueueError> VirtQueue::Pop() {
  State& s = *state_;
  if (s.error) return std::unexpected(*s.error);
  if (s.next_avail == s.seen_avail) {
    const auto ahead = s.LoadAvailable();
    if (!ahead) {
      s.error = ahead.error();
      return std::unexpected(ahead.error());
    }
    if (*ahead == 0) return std::nullopt;
  }
  auto chain = s.Take(this);
  if (!chain) {
    s.error = chain.error();
    return std::unexpected(chain.error());
  }
  return std::optional<DescriptorChain>(*std::move(chain));
}

void VirtQueue::Return(std::uint16_t head, std::uint32_t written) {
  State& s = *state_;
  s.free_slots[s.free_count++] = s.slot_of[head];
  s.slot_of[head] = kNoSlot;

  const std::size_t entry =
      kRingEntries + sizeof(UsedElement) * static_cast<std::size_t>(s.used_total & s.mask);
  s.device_ring.Store32(entry + offsetof(UsedElement, id), head);
  s.device_ring.Store32(entry + offsetof(UsedElement, length), written);
  ++s.used_total;
  s.memory->MarkDirty(GuestAddress{s.layout.device_ring.value + entry}, sizeof(UsedElement));
  if (!s.used_held) s.PublishIndex();
}

void VirtQueue::HoldUsed() { state_->used_held = true; }

void VirtQueue::PublishUsed() {
  state_->used_held = false;
  state_->PublishIndex();
}

void VirtQueue::DisableNotification() {
  State& s = *state_;
  // With event index the driver kicks only when it passes avail_event, and that stays behind
  // (2.7.10.1).
  if (s.event_idx) return;
  s.device_ring.Store16(kRingFlags, kUsedNoNotify);
  s.memory->MarkDirty(s.layout.device_ring, kRingEntries);
}

bool VirtQueue::EnableNotification() {
  State& s = *state_;
  if (s.error) return false;
  if (s.event_idx) {
    const std::size_t offset = AvailEventOffset(s.layout.size);
    s.device_ring.Store16(offset, s.next_avail);
    s.memory->MarkDirty(GuestAddress{s.layout.device_ring.value + offset}, sizeof(std::uint16_t));
  } else {
    s.device_ring.Store16(kRingFlags, 0);
    s.memory->MarkDirty(s.layout.device_ring, kRingEntries);
  }
  // The driver publishes its index, fences, and reads what we have just stored; we store, fence,
  // and read its index. One of the two sees the other, so no chain waits unseen (2.7.10.1).
  FullFence();
  return s.driver_ring.LoadAcquire16(kRingIndex) != s.next_avail;
}

bool VirtQueue::NeedsInterrupt() {
  State& s = *state_;
  const std::uint32_t old_total = std::exchange(s.used_total_asked, s.used_total);
  const std::uint32_t completed = s.used_total - old_total;
  if (completed == 0) return false;
  // The driver asks for interrupts, fences, and re-reads the used index; we have published it,
  // fence, and read what the driver asks for (2.7.7.1).
  FullFence();
  if (!s.event_idx) return (s.driver_ring.Load16(kRingFlags) & kAvailNoInterrupt) == 0;
  if (completed > 0xffff) return true;  // the index went past every possible event
  return EventDue(s.driver_ring.Load16(UsedEventOffset(s.layout.size)),
                  static_cast<std::uint16_t>(old_total), static_cast<std::uint16_t>(s.used_total));
}

}  // namespace gemel::virtio
