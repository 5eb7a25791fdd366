#include "tests/guests/bench/queue.h"

namespace bench {
namespace {

constexpr std::uint32_t kNoVector = 0xffff;  // virtio 1.2, 4.1.5.1.2

template <class T>
std::uint32_t Low(const T* pointer) {
  return static_cast<std::uint32_t>(reinterpret_cast<std::uint64_t>(pointer));
}

}  // namespace

bool Queue::SetUp(const Device& device, std::uint16_t index, std::uint64_t features,
                  bool interrupts) {
  const Registers& registers = device.registers;
  registers.queue_select.Write(index);
  const std::uint32_t most = registers.queue_max.Read();
  if (most == 0) return false;
  size_ = static_cast<std::uint16_t>(most < kMaxQueueSize ? most : kMaxQueueSize);
  index_ = index;
  event_index_ = (features & kEventIndex) != 0;
  registers.queue_size.Write(size_);
  // Everything of ours lies below 4 GiB.
  registers.descriptors_low.Write(Low(descriptors_));
  registers.descriptors_high.Write(0);
  registers.driver_low.Write(Low(&available_));
  registers.driver_high.Write(0);
  registers.device_low.Write(Low(&used_));
  registers.device_high.Write(0);
  registers.queue_vector.Write(interrupts ? 0 : kNoVector);
  notify_ = registers.notify;
  notify_.address += registers.notify_multiplier * registers.queue_notify_offset.Read();
  registers.queue_enable.Write(1);
  RefuseInterrupts();
  return true;
}

void Queue::Offer(std::uint16_t head) {
  available_.ring[next_available_ & (size_ - 1)] = head;
  ++next_available_;
}

std::uint16_t Queue::AvailEvent() const {
  const auto* const event = reinterpret_cast<const std::uint16_t*>(&used_.ring[size_]);
  return __atomic_load_n(event, __ATOMIC_RELAXED);
}

void Queue::Publish() {
  if (published_ == next_available_) return;
  __atomic_store_n(&available_.index, next_available_, __ATOMIC_RELEASE);
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  const bool kick =
      event_index_
          ? gemel::virtio::EventDue(AvailEvent(), published_, next_available_)
          : (__atomic_load_n(&used_.flags, __ATOMIC_RELAXED) & gemel::virtio::kUsedNoNotify) == 0;
  published_ = next_available_;
  if (!kick) return;
  ++kicks_;
  notify_.Write(index_);
}

bool Queue::has_used() const {
  return __atomic_load_n(&used_.index, __ATOMIC_ACQUIRE) != next_used_;
}

Queue::Used Queue::Take() {
  const gemel::virtio::UsedElement element = used_.ring[next_used_ & (size_ - 1)];
  ++next_used_;
  return {.head = element.id, .length = element.length};
}

bool Queue::AskForInterrupt() {
  __atomic_store_n(&available_.flags, std::uint16_t{0}, __ATOMIC_RELAXED);
  __atomic_store_n(&available_.ring[size_], next_used_, __ATOMIC_RELAXED);
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  return !has_used();
}

// With the event index the event is put where the device has been last, and never catches up.
void Queue::RefuseInterrupts() {
  __atomic_store_n(&available_.flags, gemel::virtio::kAvailNoInterrupt, __ATOMIC_RELAXED);
  __atomic_store_n(&available_.ring[size_], static_cast<std::uint16_t>(next_used_ - 1),
                   __ATOMIC_RELAXED);
}

}  // namespace bench
