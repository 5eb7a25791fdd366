// What a fuzzer's input does to a split ring: mostly what a driver would do, rarely something else.
#pragma once
#include <array>
#include <cstdint>
#include <span>

#include "tests/fakes/fake_driver_queue.h"
#include "virtio/queue/split_ring.h"

namespace gemel::testing {

// `Input` is clang's FuzzedDataProvider, which only clang can include.

// True once in 16.
template <class Input>
bool Rarely(Input& input) {
  return input.template ConsumeIntegralInRange<int>(0, 15) == 15;
}

template <class Input>
class RingBender {
 public:
  // `ram_end`: buffers mostly lie below it.
  RingBender(Input& input, FakeDriverQueue& ring, std::uint64_t ram_end)
      : input_(input), ring_(ring), ram_end_(ram_end) {}

  // One change to the ring or to what it points at.
  void Step() {
    switch (input_.ConsumeIntegralInRange(0, 6)) {
      case 0:
        return ring_.SetDescriptor(Place(), AnyDescriptor(ring_.size()));
      case 1:
        return OfferSome();
      case 2:
        return WriteIndirectTable();
      case 3:
        return ring_.SetUsedEvent(input_.template ConsumeIntegral<std::uint16_t>());
      case 4:
        return ring_.SetAvailFlags(input_.template ConsumeIntegral<std::uint16_t>());
      case 5:
        return ring_.SetAvailEntry(Index(), Index());
      default:
        return WriteAnywhere();
    }
  }

 private:
  // A place in the table.
  std::uint16_t Place() {
    return input_.template ConsumeIntegralInRange<std::uint16_t>(
        0, static_cast<std::uint16_t>(ring_.size() - 1));
  }

  // What a driver says is a place in the table.
  std::uint16_t Index() {
    return Rarely(input_) ? input_.template ConsumeIntegral<std::uint16_t>() : Place();
  }

  std::uint64_t Address() {
    if (Rarely(input_)) return input_.template ConsumeIntegral<std::uint64_t>();
    return input_.template ConsumeIntegralInRange<std::uint64_t>(0, ram_end_);
  }

  virtio::Descriptor AnyDescriptor(std::uint32_t table) {
    virtio::Descriptor descriptor;
    descriptor.address = Address();
    descriptor.length = Rarely(input_) ? input_.template ConsumeIntegral<std::uint32_t>()
                                       : input_.template ConsumeIntegral<std::uint8_t>();
    descriptor.flags = Rarely(input_) ? input_.template ConsumeIntegral<std::uint16_t>()
                                      : input_.template ConsumeIntegralInRange<std::uint16_t>(0, 3);
    descriptor.next = Rarely(input_) ? input_.template ConsumeIntegral<std::uint16_t>()
                                     : input_.template ConsumeIntegralInRange<std::uint16_t>(
                                           0, static_cast<std::uint16_t>(table - 1));
    return descriptor;
  }

  void OfferSome() {
    if (Rarely(input_))
      return ring_.SetAvailIndex(input_.template ConsumeIntegral<std::uint16_t>());
    ring_.Offer(Index());
  }

  void WriteIndirectTable() {
    std::array<virtio::Descriptor, 8> table;
    const std::size_t count = input_.template ConsumeIntegralInRange<std::size_t>(1, table.size());
    for (std::size_t i = 0; i < count; ++i)
      table[i] = AnyDescriptor(static_cast<std::uint32_t>(count));
    const GuestAddress at{input_.template ConsumeIntegralInRange<std::uint64_t>(0, ram_end_)};
    const auto bytes = std::as_bytes(std::span(table).first(count));
    if (!ring_.memory().WriteBytes(at, bytes)) return;
    const auto length = Rarely(input_) ? input_.template ConsumeIntegral<std::uint16_t>()
                                       : static_cast<std::uint32_t>(bytes.size());
    ring_.SetDescriptor(
        Place(),
        {.address = at.value, .length = length, .flags = virtio::kDescriptorIndirect, .next = 0});
  }

  void WriteAnywhere() {
    const GuestAddress at{Address()};
    const auto bytes = input_.template ConsumeBytes<std::uint8_t>(
        input_.template ConsumeIntegralInRange<std::size_t>(0, 32));
    if (!ring_.memory().WriteBytes(at, std::as_bytes(std::span(bytes)))) return;
  }

  Input& input_;
  FakeDriverQueue& ring_;
  const std::uint64_t ram_end_;
};

}  // namespace gemel::testing
