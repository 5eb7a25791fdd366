#include "virtio/queue/chain_walk.h"

#include <limits>

namespace gemel::virtio {
namespace {

// SAFETY: `at` is 8-aligned and 16 bytes of RAM follow it.
Descriptor LoadDescriptor(const std::byte* at) {
  using Word [[gnu::may_alias]] = std::uint64_t;
  const auto* words = reinterpret_cast<const Word*>(at);
  const std::uint64_t rest = __atomic_load_n(words + 1, __ATOMIC_RELAXED);
  return {.address = __atomic_load_n(words, __ATOMIC_RELAXED),
          .length = static_cast<std::uint32_t>(rest),
          .flags = static_cast<std::uint16_t>(rest >> 32),
          .next = static_cast<std::uint16_t>(rest >> 48)};
}

class Walker {
 public:
  Walker(const ChainTable& table, std::span<iovec> segments) : table_(table), segments_(segments) {}

  std::expected<ChainShape, QueueError> Walk(std::uint16_t head) {
    std::uint16_t index = head;
    for (std::uint32_t step = 0; step < table_.queue_size; ++step) {
      if (index >= table_.queue_size) return std::unexpected(QueueError::kBadDescriptor);
      const Descriptor descriptor = LoadDescriptor(table_.descriptors + sizeof(Descriptor) * index);
      if ((descriptor.flags & kDescriptorIndirect) != 0) return WalkIndirect(descriptor);
      if (auto added = Add(descriptor); !added) return std::unexpected(added.error());
      if ((descriptor.flags & kDescriptorNext) == 0) return Shape();
      index = descriptor.next;
    }
    return std::unexpected(QueueError::kTooLong);
  }

 private:
  std::expected<ChainShape, QueueError> WalkIndirect(const Descriptor& referrer) {
    const std::uint32_t count = referrer.length / sizeof(Descriptor);
    if (!table_.indirect_negotiated || (referrer.flags & kDescriptorNext) != 0 ||
        referrer.length % sizeof(Descriptor) != 0 || count == 0 || count > table_.queue_size) {
      return std::unexpected(QueueError::kBadIndirect);
    }
    const GuestAddress at{referrer.address};
    iovec place;
    if (!table_.memory->ToOneIovec(at, referrer.length, &place))
      return std::unexpected(QueueError::kBadIndirect);
    const auto* const host = static_cast<const std::byte*>(place.iov_base);
    // 2.7.5.3 asks for no alignment, though every driver we know of aligns.
    const bool aligned = at.value % alignof(Descriptor) == 0;

    std::uint32_t index = 0;
    for (std::uint32_t step = 0; step < count; ++step) {
      if (index >= count) return std::unexpected(QueueError::kBadDescriptor);
      const std::uint64_t offset = sizeof(Descriptor) * index;
      const Descriptor descriptor =
          aligned ? LoadDescriptor(host + offset) : LoadUnaligned({at.value + offset});
      if ((descriptor.flags & kDescriptorIndirect) != 0)
        return std::unexpected(QueueError::kBadIndirect);
      if (auto added = Add(descriptor); !added) return std::unexpected(added.error());
      if ((descriptor.flags & kDescriptorNext) == 0) return Shape();
      index = descriptor.next;
    }
    return std::unexpected(QueueError::kTooLong);
  }

  std::expected<void, QueueError> AddSegments(GuestAddress at, std::uint32_t length) {
    if (used_ == segments_.size()) return std::unexpected(QueueError::kTooLong);
    if (table_.memory->ToOneIovec(at, length, &segments_[used_])) {
      ++used_;
      return {};
    }
    const auto added = table_.memory->ToIov(at, length, segments_.subspan(used_));
    if (!added) {
      return std::unexpected(added.error() == MemError::kTooManySegments ? QueueError::kTooLong
                                                                         : QueueError::kBadBuffer);
    }
    used_ += *added;
    return {};
  }

  ChainShape Shape() const {
    return {.readable = static_cast<std::uint32_t>(readable_),
            .writable = static_cast<std::uint32_t>(used_ - readable_)};
  }

  // REQUIRES: the descriptor is RAM, which ToOneIovec has said of the table.
  Descriptor LoadUnaligned(GuestAddress at) const {
    return table_.memory->Read<Descriptor>(at).value_or(Descriptor{});
  }

  std::expected<void, QueueError> Add(const Descriptor& descriptor) {
    const bool write = (descriptor.flags & kDescriptorWrite) != 0;
    if (write) {
      writable_seen_ = true;
    } else if (writable_seen_) {
      return std::unexpected(QueueError::kBadOrder);
    }
    if (descriptor.length == 0) return {};
    if (descriptor.length > std::numeric_limits<std::uint32_t>::max() - bytes_)
      return std::unexpected(QueueError::kTooLong);
    bytes_ += descriptor.length;

    if (auto added = AddSegments(GuestAddress{descriptor.address}, descriptor.length); !added)
      return added;
    if (!write) readable_ = used_;
    return {};
  }

  const ChainTable& table_;
  const std::span<iovec> segments_;
  std::size_t used_ = 0, readable_ = 0;  // segments
  std::uint32_t bytes_ = 0;
  bool writable_seen_ = false;
};

}  // namespace

std::expected<ChainShape, QueueError> WalkChain(const ChainTable& table, std::uint16_t head,
                                                std::span<iovec> segments) {
  return Walker(table, segments).Walk(head);
}

}  // namespace gemel::virtio
