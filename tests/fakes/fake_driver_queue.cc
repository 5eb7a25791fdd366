#include "tests/fakes/fake_driver_queue.h"

#include <algorithm>

#include "base/check.h"

namespace gemel::testing {

using virtio::AvailEventOffset;
using virtio::Descriptor;
using virtio::DescriptorTableBytes;
using virtio::DeviceRingBytes;
using virtio::DriverRingBytes;
using virtio::kDescriptorAlignment;
using virtio::kDescriptorIndirect;
using virtio::kDescriptorNext;
using virtio::kDescriptorWrite;
using virtio::kDeviceRingAlignment;
using virtio::kRingEntries;
using virtio::kRingFlags;
using virtio::kRingIndex;
using virtio::UsedElement;
using virtio::UsedEventOffset;

namespace {

GuestAddress AlignUp(std::uint64_t value, std::uint64_t to) {
  return GuestAddress{(value + to - 1) / to * to};
}
GuestAddress operator+(GuestAddress at, std::uint64_t offset) {
  return GuestAddress{at.value + offset};
}

}  // namespace

FakeDriverQueue::FakeDriverQueue(const GuestMemory& memory, std::uint16_t size, GuestAddress base)
    : memory_(&memory) {
  layout_.size = size;
  layout_.descriptors = AlignUp(base.value, kDescriptorAlignment);
  layout_.driver_ring = layout_.descriptors + DescriptorTableBytes(size);
  layout_.device_ring =
      AlignUp(layout_.driver_ring.value + DriverRingBytes(size), kDeviceRingAlignment);
  buffers_ = AlignUp(layout_.device_ring.value + DeviceRingBytes(size), 4096);
  for (const GuestMemory::Region& region : memory.regions()) {
    if (base >= region.start && base.value - region.start.value < region.size)
      buffers_end_ = region.start + region.size;
  }
  CHECK(buffers_ < buffers_end_);
  next_buffer_ = buffers_;
  // An earlier driver's used index would be taken for a device's.
  const std::vector<std::byte> zeroes(layout_.device_ring.value + DeviceRingBytes(size) -
                                      layout_.descriptors.value);
  CHECK(memory.WriteBytes(layout_.descriptors, zeroes).has_value());
  for (std::uint16_t i = size; i > 0; --i) free_.push_back(static_cast<std::uint16_t>(i - 1));
}

GuestAddress FakeDriverQueue::Allocate(std::uint64_t bytes) {
  if (buffers_end_.value - next_buffer_.value < bytes) next_buffer_ = buffers_;
  CHECK(buffers_end_.value - next_buffer_.value >= bytes);
  const GuestAddress at = next_buffer_;
  next_buffer_ = std::min(AlignUp(at.value + bytes, 16), buffers_end_);
  return at;
}

std::uint16_t FakeDriverQueue::AllocateDescriptor() {
  CHECK(!free_.empty());
  const std::uint16_t index = free_.back();
  free_.pop_back();
  return index;
}

void FakeDriverQueue::SetDescriptor(std::uint16_t index, const Descriptor& descriptor) {
  CHECK(memory_->Write(layout_.descriptors + sizeof(Descriptor) * index, descriptor).has_value());
}

Descriptor FakeDriverQueue::GetDescriptor(std::uint16_t index) const {
  return memory_->Read<Descriptor>(layout_.descriptors + sizeof(Descriptor) * index).value();
}

void FakeDriverQueue::Offer(std::uint16_t head) {
  SetAvailEntry(avail_index_, head);
  SetAvailIndex(static_cast<std::uint16_t>(avail_index_ + 1));
}

void FakeDriverQueue::Own(std::uint16_t head, std::vector<std::uint16_t> descriptors) {
  chains_.push_back({head, std::move(descriptors)});
}

std::uint16_t FakeDriverQueue::used_index() const {
  return memory_->LoadAcquire16(layout_.device_ring + kRingIndex).value();
}

std::optional<UsedElement> FakeDriverQueue::TakeUsed() {
  if (used_index() == used_taken_) return std::nullopt;
  const std::size_t place = used_taken_++ % layout_.size;
  const auto element =
      memory_->Read<UsedElement>(layout_.device_ring + kRingEntries + sizeof(UsedElement) * place)
          .value();
  const auto chain = std::ranges::find(chains_, element.id, &Chain::head);
  if (chain != chains_.end()) {
    free_.insert(free_.end(), chain->descriptors.rbegin(), chain->descriptors.rend());
    chains_.erase(chain);
  }
  return element;
}

bool FakeDriverQueue::ShouldKick(bool event_idx) {
  const std::uint16_t old_index = std::exchange(kicked_index_, avail_index_);
  // The fence between publishing and asking (2.7.13.4.1), as something that ThreadSanitizer knows.
  [[maybe_unused]] static int fence;
  __atomic_fetch_add(&fence, 0, __ATOMIC_SEQ_CST);
  if (event_idx) return virtio::EventDue(avail_event(), old_index, avail_index_);
  return (used_flags() & virtio::kUsedNoNotify) == 0;
}

std::uint16_t FakeDriverQueue::used_flags() const {
  return memory_->LoadAcquire16(layout_.device_ring + kRingFlags).value();
}
std::uint16_t FakeDriverQueue::avail_event() const {
  return memory_->LoadAcquire16(layout_.device_ring + AvailEventOffset(layout_.size)).value();
}
void FakeDriverQueue::SetAvailFlags(std::uint16_t flags) {
  CHECK(memory_->StoreRelease16(layout_.driver_ring + kRingFlags, flags).has_value());
}
void FakeDriverQueue::SetUsedEvent(std::uint16_t event) {
  CHECK(memory_->StoreRelease16(layout_.driver_ring + UsedEventOffset(layout_.size), event)
            .has_value());
}

void FakeDriverQueue::SetAvailIndex(std::uint16_t index) {
  avail_index_ = index;
  CHECK(memory_->StoreRelease16(layout_.driver_ring + kRingIndex, index).has_value());
}

void FakeDriverQueue::SetAvailEntry(std::uint16_t place, std::uint16_t head) {
  const std::size_t offset = kRingEntries + 2 * (std::size_t{place} % layout_.size);
  CHECK(memory_->StoreRelease16(layout_.driver_ring + offset, head).has_value());
}

std::vector<std::byte> FakeDriverQueue::ReadGuest(GuestAddress at, std::size_t bytes) const {
  std::vector<std::byte> out(bytes);
  CHECK(memory_->ReadBytes(at, out).has_value());
  return out;
}

void FakeDriverQueue::WriteGuest(GuestAddress at, std::span<const std::byte> bytes) const {
  CHECK(memory_->WriteBytes(at, bytes).has_value());
}

DescriptorChainBuilder& DescriptorChainBuilder::AppendReadable(std::span<const std::byte> bytes) {
  const GuestAddress at = queue_.Allocate(bytes.size());
  queue_.WriteGuest(at, bytes);
  return AppendRaw(at, static_cast<std::uint32_t>(bytes.size()), 0);
}

DescriptorChainBuilder& DescriptorChainBuilder::AppendReadable(std::string_view text) {
  return AppendReadable(std::as_bytes(std::span(text)));
}

DescriptorChainBuilder& DescriptorChainBuilder::AppendWritable(std::uint32_t bytes,
                                                               GuestAddress* at) {
  const GuestAddress place = queue_.Allocate(bytes);
  if (at != nullptr) *at = place;
  return AppendRaw(place, bytes, kDescriptorWrite);
}

DescriptorChainBuilder& DescriptorChainBuilder::AppendRaw(GuestAddress at, std::uint32_t bytes,
                                                          std::uint16_t flags) {
  (indirect_ ? table_ : direct_).push_back({at.value, bytes, flags, 0});
  return *this;
}

DescriptorChainBuilder& DescriptorChainBuilder::Indirect() {
  indirect_ = true;
  return *this;
}

std::uint16_t DescriptorChainBuilder::BuildOnly() {
  if (indirect_) {
    for (std::size_t i = 0; i + 1 < table_.size(); ++i) {
      table_[i].flags |= kDescriptorNext;
      table_[i].next = static_cast<std::uint16_t>(i + 1);
    }
    const auto bytes = std::as_bytes(std::span(table_));
    const GuestAddress at = queue_.Allocate(bytes.size());
    queue_.WriteGuest(at, bytes);
    direct_.push_back({at.value, static_cast<std::uint32_t>(bytes.size()), kDescriptorIndirect, 0});
  }
  CHECK(!direct_.empty());
  std::vector<std::uint16_t> indices;
  for (std::size_t i = 0; i < direct_.size(); ++i) indices.push_back(queue_.AllocateDescriptor());
  for (std::size_t i = 0; i < direct_.size(); ++i) {
    if (i + 1 < direct_.size()) {
      direct_[i].flags |= kDescriptorNext;
      direct_[i].next = indices[i + 1];
    }
    queue_.SetDescriptor(indices[i], direct_[i]);
  }
  const std::uint16_t head = indices.front();
  queue_.Own(head, std::move(indices));
  return head;
}

std::uint16_t DescriptorChainBuilder::Build() {
  const std::uint16_t head = BuildOnly();
  queue_.Offer(head);
  return head;
}

}  // namespace gemel::testing
