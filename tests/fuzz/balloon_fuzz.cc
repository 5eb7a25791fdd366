// A driver that mostly speaks virtio-balloon and now and then does not: real queues and the real
// device on its real thread.
#include <fuzzer/FuzzedDataProvider.h>

#include <array>
#include <cstring>
#include <future>
#include <memory>
#include <vector>

#include "base/check.h"
#include "base/log.h"
#include "tests/fakes/fake_driver_queue.h"
#include "tests/fakes/fake_interrupt.h"
#include "virtio/balloon/device.h"

namespace gemel::virtio {
namespace {

using testing::DescriptorChainBuilder;
using testing::FakeDriverQueue;
using testing::FakeInterrupt;

constexpr std::uint64_t kMemory = 4 << 20;
constexpr std::uint64_t kRings = 128 << 10;  // a queue's, with its buffers
constexpr std::size_t kQueues = 4;

EventFd MakeEvent() {
  auto event = EventFd::Create();
  CHECK(event.has_value());
  return *std::move(event);
}

class Fuzzer {
 public:
  Fuzzer(Balloon& balloon, FuzzedDataProvider& data) : balloon_(balloon), data_(data) {
    CHECK(Memory()->WriteBytes(GuestAddress{0}, std::vector<std::byte>(kQueues * kRings)));
    for (std::size_t i = 0; i < kQueues; ++i)
      queues_.emplace_back(*Memory(), std::uint16_t{32}, GuestAddress{i * kRings});
  }

  void Run() {
    for (int i = data_.ConsumeIntegralInRange(0, 16); i > 0; --i) Offer();
    if (Rarely()) Bend();
    Start();
    std::array<std::byte, 8> config{};
    for (int i = data_.ConsumeIntegralInRange(0, 4); i > 0; --i) {
      const auto width = data_.ConsumeIntegralInRange<std::size_t>(1, config.size());
      const auto offset = data_.ConsumeIntegral<std::uint8_t>();
      balloon_.device->WriteConfig(offset, std::span(config).first(width));
      balloon_.device->ReadConfig(offset, std::span(config).first(width));
    }
    if (data_.ConsumeBool()) balloon_.control->SetTarget(data_.ConsumeIntegral<std::uint64_t>());
    balloon_.control->Poll();
    for (const EventFd& kick : kicks_) kick.Signal();
    std::promise<void> done;
    balloon_.device->Reset([&done] { done.set_value(); });
    done.get_future().get();
  }

 private:
  bool Rarely() { return data_.ConsumeIntegralInRange(0, 15) == 15; }

  void Start() {
    std::uint64_t features = balloon_.device->features() | kFeatureVersion1 | kFeatureIndirectDesc;
    if (Rarely()) features &= data_.ConsumeIntegral<std::uint64_t>();
    Activation activation{.memory = Memory(),
                          .queues = {},
                          .config_interrupt = &interrupt_,
                          .needs_reset = [] {},
                          .features = features};
    for (std::uint16_t i = 0; i < kQueues; ++i) {
      if (Rarely()) continue;
      auto queue = VirtQueue::Create(*Memory(), queues_[i].layout(), features, 128);
      CHECK(queue.has_value());
      activation.queues.push_back(
          {.index = i, .queue = *std::move(queue), .kick = &kicks_[i], .interrupt = &interrupt_});
    }
    CHECK(balloon_.device->Activate(std::move(activation)).has_value());
  }

  void Offer() {
    FakeDriverQueue& queue = queues_[data_.ConsumeIntegralInRange<std::size_t>(0, kQueues - 1)];
    if (queue.free_descriptors() < 4) return;
    DescriptorChainBuilder chain(queue);
    if (data_.ConsumeBool()) {
      std::vector<std::uint32_t> pages(data_.ConsumeIntegralInRange<std::size_t>(1, 300));
      // Not the rings, so that what comes after them is still seen.
      for (std::uint32_t& page : pages)
        page = Rarely() ? data_.ConsumeIntegral<std::uint32_t>()
                        : data_.ConsumeIntegralInRange<std::uint32_t>(128, kMemory / 4096);
      chain.AppendReadable(std::as_bytes(std::span(pages)));
    }
    if (data_.ConsumeBool()) {
      const auto bytes =
          data_.ConsumeBytes<std::uint8_t>(data_.ConsumeIntegralInRange<std::size_t>(1, 60));
      if (!bytes.empty()) chain.AppendReadable(std::as_bytes(std::span(bytes)));
    }
    chain.AppendRaw(
        GuestAddress{data_.ConsumeIntegralInRange<std::uint64_t>(kQueues * kRings, kMemory)},
        Rarely() ? data_.ConsumeIntegral<std::uint32_t>()
                 : data_.ConsumeIntegralInRange<std::uint32_t>(0, 1 << 20),
        kDescriptorWrite);
    chain.Build();
  }

  void Bend() {
    FakeDriverQueue& queue = queues_[data_.ConsumeIntegralInRange<std::size_t>(0, kQueues - 1)];
    if (data_.ConsumeBool()) {
      queue.SetAvailIndex(data_.ConsumeIntegral<std::uint16_t>());
    } else {
      queue.SetAvailEntry(data_.ConsumeIntegralInRange<std::uint16_t>(0, 31),
                          data_.ConsumeIntegral<std::uint16_t>());
    }
  }

  static const GuestMemory* Memory() {
    static const auto memory = [] {
      // A region for each queue, since FakeDriverQueue takes what is left of one for buffers.
      std::vector<MemoryRange> ranges;
      for (std::size_t i = 0; i < kQueues; ++i)
        ranges.push_back({GuestAddress{i * kRings}, kRings});
      ranges.push_back({GuestAddress{kQueues * kRings}, kMemory - kQueues * kRings});
      auto made = GuestMemory::Create(ranges, MemoryBacking::kAnonymous);
      CHECK(made.has_value());
      return *std::move(made);
    }();
    return memory.get();
  }

  Balloon& balloon_;
  FuzzedDataProvider& data_;
  std::vector<FakeDriverQueue> queues_;
  std::array<EventFd, kQueues> kicks_{MakeEvent(), MakeEvent(), MakeEvent(), MakeEvent()};
  FakeInterrupt interrupt_;
};

Balloon MakeBalloon() {
  auto balloon = CreateBalloon({.name = "balloon0"});
  CHECK(balloon.has_value());
  return *std::move(balloon);
}

}  // namespace
}  // namespace gemel::virtio

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  gemel::SetLogLevel(gemel::LogLevel::kError);
  static gemel::virtio::Balloon balloon = gemel::virtio::MakeBalloon();
  FuzzedDataProvider data(bytes, size);
  gemel::virtio::Fuzzer(balloon, data).Run();
  return 0;
}
