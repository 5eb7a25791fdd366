// A hostile driver's ring against VirtQueue: every segment that comes out is RAM and within the
// limits, no head is in flight twice, an error stays.
#include <fuzzer/FuzzedDataProvider.h>

#include <array>
#include <cstring>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "base/check.h"
#include "tests/fuzz/ring_bender.h"
#include "virtio/queue/virt_queue.h"

namespace gemel::virtio {
namespace {

using testing::FakeDriverQueue;
using testing::Rarely;
using testing::RingBender;

constexpr std::uint64_t kRamEnd = 0x6000;

// Two regions that touch and one beyond a hole.
const GuestMemory& Ram() {
  static const std::array ranges{MemoryRange{GuestAddress{0}, 0x4000},
                                 MemoryRange{GuestAddress{0x4000}, 0x2000},
                                 MemoryRange{GuestAddress{0x10000}, 0x1000}};
  static const auto memory = GuestMemory::Create(ranges, MemoryBacking::kAnonymous).value();
  return *memory;
}

void Erase(const GuestMemory& memory) {
  for (const GuestMemory::Region& region : memory.regions())
    std::memset(region.host, 0, region.size);
}

bool InRam(const iovec& segment) {
  const auto* const at = static_cast<const std::byte*>(segment.iov_base);
  for (const GuestMemory::Region& region : Ram().regions()) {
    if (at < region.host || at >= region.host + region.size) continue;
    return segment.iov_len <= static_cast<std::size_t>(region.host + region.size - at);
  }
  return false;
}

class Device {
 public:
  Device(FuzzedDataProvider& input, VirtQueue& queue, std::uint16_t max_segments)
      : input_(input), queue_(queue), max_segments_(max_segments) {}

  void Step() {
    switch (input_.ConsumeIntegralInRange(0, 5)) {
      case 0:
        return queue_.DisableNotification();
      case 1:
        queue_.EnableNotification();
        return;
      case 2:
        queue_.NeedsInterrupt();
        return;
      case 3:
        return End();
      default:
        return Pop();
    }
  }

 private:
  void Pop() {
    auto popped = queue_.Pop();
    if (!popped) {
      CHECK(!error_ || *error_ == popped.error());
      error_ = popped.error();
      return;
    }
    CHECK(!error_);
    if (!popped->has_value()) return;
    DescriptorChain chain = **std::move(popped);
    CHECK(heads_.insert(chain.head()).second);
    CHECK(chain.readable().size() + chain.writable().size() <= max_segments_);
    CHECK(IovLength(chain.readable()) + IovLength(chain.writable()) < std::uint64_t{1} << 32);
    for (const iovec& segment : chain.readable()) CHECK(InRam(segment));
    for (const iovec& segment : chain.writable()) CHECK(InRam(segment));
    chains_.push_back(std::move(chain));
    CHECK(queue_.in_flight() == chains_.size());
  }

  void End() {
    if (chains_.empty()) return;
    std::swap(chains_[input_.ConsumeIntegralInRange<std::size_t>(0, chains_.size() - 1)],
              chains_.back());
    DescriptorChain chain = std::move(chains_.back());
    chains_.pop_back();
    heads_.erase(chain.head());
    std::array<std::byte, 64> bytes;
    const std::size_t n =
        CopyFromIov(chain.readable(), input_.ConsumeIntegral<std::uint8_t>(), bytes);
    const std::size_t written = CopyToIov(chain.writable(), 0, std::span(bytes).first(n));
    if (!Rarely(input_)) std::move(chain).Complete(static_cast<std::uint32_t>(written));
  }

  FuzzedDataProvider& input_;
  VirtQueue& queue_;
  const std::size_t max_segments_;
  std::vector<DescriptorChain> chains_;
  std::set<std::uint16_t> heads_;
  std::optional<QueueError> error_;
};

void Run(FuzzedDataProvider& input) {
  Erase(Ram());
  const auto size = static_cast<std::uint16_t>(1u << input.ConsumeIntegralInRange(0, 6));
  const auto max_segments = input.ConsumeIntegralInRange<std::uint16_t>(1, 40);
  const std::uint64_t features = (input.ConsumeBool() ? kFeatureIndirectDesc : 0) |
                                 (input.ConsumeBool() ? kFeatureEventIdx : 0);
  FakeDriverQueue ring(Ram(), size, GuestAddress{0x100});
  QueueLayout layout = ring.layout();
  if (Rarely(input)) layout.size = input.ConsumeIntegral<std::uint16_t>();
  if (Rarely(input)) layout.descriptors.value = input.ConsumeIntegral<std::uint64_t>();
  if (Rarely(input)) layout.driver_ring.value = input.ConsumeIntegral<std::uint64_t>();
  if (Rarely(input)) layout.device_ring.value = input.ConsumeIntegral<std::uint64_t>();
  const auto queue = VirtQueue::Create(Ram(), layout, features, max_segments);
  if (!queue) return;

  RingBender bender(input, ring, kRamEnd);
  Device device(input, **queue, max_segments);
  while (input.remaining_bytes() > 0) {
    if (input.ConsumeBool()) {
      bender.Step();
    } else {
      device.Step();
    }
  }
}

}  // namespace
}  // namespace gemel::virtio

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider input(data, size);
  gemel::virtio::Run(input);
  return 0;
}
