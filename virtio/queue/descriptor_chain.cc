#include "base/check.h"
#include "virtio/queue/virt_queue.h"

namespace gemel::virtio {

DescriptorChain& DescriptorChain::operator=(DescriptorChain&& other) noexcept {
  if (this == &other) return *this;
  if (queue_ != nullptr) Drop();
  queue_ = std::exchange(other.queue_, nullptr);
  segments_ = other.segments_;
  readable_ = other.readable_;
  writable_ = other.writable_;
  head_ = other.head_;
  return *this;
}

void DescriptorChain::Drop() { queue_->Return(head_, 0); }

void DescriptorChain::Complete(std::uint32_t written) && {
  VirtQueue* const queue = std::exchange(queue_, nullptr);
  CHECK(queue != nullptr);  // completed or moved from already
  queue->Return(head_, written);
}

}  // namespace gemel::virtio
