// A driver that mostly speaks virtio-net and now and then does not: real queues, real device on its
// real thread, frames with every header to and from a network in memory.
#include <fuzzer/FuzzedDataProvider.h>
#include <poll.h>
#include <sched.h>

#include <cstring>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "tests/fakes/fake_driver_queue.h"
#include "tests/fakes/fake_interrupt.h"
#include "tests/fakes/fake_net_backend.h"
#include "tests/fakes/test_memory.h"
#include "virtio/net/config_space.h"
#include "virtio/net/device.h"

namespace gemel {
namespace {

using testing::DescriptorChainBuilder;
using testing::FakeDriverQueue;
using testing::FakeInterrupt;
using testing::FakeNetBackend;

constexpr std::uint64_t kMemory = 1 << 20;
constexpr std::size_t kQueues = 3;  // receive, transmit, control

struct Machine {
  explicit Machine(net::Offloads offloads) {
    auto made = std::make_unique<FakeNetBackend>(offloads);
    backend = made.get();
    virtio::NetOptions options;
    options.name = "net0";
    options.mac = {2, 0, 0, 0, 0, 1};
    options.backends.push_back(std::move(made));
    auto created = virtio::CreateNet(std::move(options));
    CHECK(created.has_value());
    device = *std::move(created);
  }
  std::unique_ptr<virtio::NetDevice> device;
  FakeNetBackend* backend;
};

EventFd MakeEvent() {
  auto event = EventFd::Create();
  CHECK(event.has_value());
  return *std::move(event);
}

class Fuzzer {
 public:
  Fuzzer(Machine& machine, FuzzedDataProvider& data) : machine_(machine), data_(data) {
    for (std::size_t i = 0; i < kQueues; ++i)
      rings_.emplace_back(*Memory(), std::uint16_t{32}, GuestAddress{0x1000 + i * 0x40000});
  }

  void Run() {
    CHECK(Memory()->WriteBytes(GuestAddress{0}, std::vector<std::byte>(16 << 10)).has_value());
    machine_.backend->SetRoom(Rarely() ? data_.ConsumeIntegralInRange<std::size_t>(0, 4)
                                       : SIZE_MAX);
    for (int i = data_.ConsumeIntegralInRange(0, 8); i > 0; --i) OfferBuffer();
    for (int i = data_.ConsumeIntegralInRange(0, 8); i > 0; --i) OfferFrame();
    if (Rarely()) Bend();
    if (!Start()) return;
    for (int i = data_.ConsumeIntegralInRange(0, 6); i > 0; --i) PushFrame();
    AwaitKicksTaken();
    if (data_.ConsumeBool()) {
      for (int i = data_.ConsumeIntegralInRange(0, 4); i > 0; --i) OfferBuffer();
      for (int i = data_.ConsumeIntegralInRange(0, 4); i > 0; --i) OfferFrame();
      for (const EventFd& kick : kicks_) kick.Signal();
      AwaitKicksTaken();
    }
    std::promise<void> done;
    machine_.device->Reset([&done] { done.set_value(); });
    done.get_future().get();
    machine_.backend->Clear();
  }

 private:
  bool Rarely() { return data_.ConsumeIntegralInRange(0, 15) == 15; }

  // False where the driver asks for a queue that cannot be.
  bool Start() {
    std::uint64_t features =
        machine_.device->features() | virtio::kFeatureVersion1 | virtio::kFeatureIndirectDesc;
    if (Rarely()) features &= ~virtio::kNetFeatureMrgRxbuf;
    if (Rarely()) features &= data_.ConsumeIntegral<std::uint64_t>();
    features |= virtio::kNetFeatureCtrlVq;  // else nobody takes that queue's kicks
    virtio::Activation activation;
    activation.memory = Memory();
    activation.config_interrupt = &config_interrupt_;
    activation.needs_reset = [this] { needs_reset_.Trigger(); };
    activation.features = features;
    for (std::size_t i = 0; i < kQueues; ++i) {
      auto queue = virtio::VirtQueue::Create(*Memory(), rings_[i].layout(), features, 128);
      if (!queue) return false;
      activation.queues.push_back({.index = static_cast<std::uint16_t>(i),
                                   .queue = *std::move(queue),
                                   .kick = &kicks_[i],
                                   .interrupt = &interrupt_});
      kicks_[i].Signal();  // before the worker watches it, so that AwaitKicksTaken sees it go
    }
    return machine_.device->Activate(std::move(activation)).has_value();
  }

  // Returns when the worker is in its OnKick or past it. A reset comes after it in any case.
  void AwaitKicksTaken() {
    for (const EventFd& event : kicks_) {
      pollfd kick{.fd = event.get(), .events = POLLIN, .revents = 0};
      while (poll(&kick, 1, 0) == 1 && needs_reset_.count() == 0) sched_yield();
    }
  }

  void OfferBuffer() {
    if (rings_[0].free_descriptors() < 8) return;
    DescriptorChainBuilder chain(rings_[0]);
    if (data_.ConsumeBool()) chain.Indirect();
    if (Rarely()) chain.AppendReadable("of no use");
    for (int i = data_.ConsumeIntegralInRange(1, 3); i > 0; --i)
      chain.AppendWritable(Rarely() ? data_.ConsumeIntegralInRange(0u, 16u)
                                    : data_.ConsumeIntegralInRange(12u, 4096u));
    if (Rarely()) AppendAnything(chain);
    chain.Build();
  }

  net::FrameHeader Header() {
    net::FrameHeader header{};
    if (data_.ConsumeBool()) data_.ConsumeData(&header, sizeof header);
    if (data_.ConsumeBool()) {
      static constexpr std::uint8_t kTypes[] = {0, 1, 3, 4, 5, 0x81, 0x84, 2};
      header.gso_type = data_.PickValueInArray(kTypes);
      header.flags = data_.ConsumeIntegralInRange<std::uint8_t>(0, 3);
    }
    return header;
  }

  std::vector<std::byte> Body() {
    const auto size = Rarely() ? data_.ConsumeIntegralInRange<std::size_t>(0, 70000)
                               : data_.ConsumeIntegralInRange<std::size_t>(0, 2000);
    std::vector<std::byte> body(size);
    if (size > 0) data_.ConsumeData(body.data(), std::min<std::size_t>(size, 20));
    return body;
  }

  void OfferFrame() {
    if (rings_[1].free_descriptors() < 8) return;
    const net::FrameHeader header = Header();
    const std::vector<std::byte> body = Body();
    std::string all(reinterpret_cast<const char*>(&header), sizeof header);
    all.append(reinterpret_cast<const char*>(body.data()), body.size());
    if (Rarely()) all.resize(data_.ConsumeIntegralInRange<std::size_t>(0, all.size()));
    if (all.empty()) return;
    const auto cut = Rarely() ? data_.ConsumeIntegralInRange<std::size_t>(0, all.size())
                              : std::min<std::size_t>(all.size(), sizeof header);
    DescriptorChainBuilder chain(rings_[1]);
    if (data_.ConsumeBool()) chain.Indirect();
    if (cut > 0) chain.AppendReadable(std::string_view(all).substr(0, cut));
    if (cut < all.size()) chain.AppendReadable(std::string_view(all).substr(cut));
    if (Rarely()) AppendAnything(chain);
    chain.Build();
  }

  void AppendAnything(DescriptorChainBuilder& chain) {
    const GuestAddress at{data_.ConsumeIntegralInRange<std::uint64_t>(0, kMemory + 4096)};
    const auto bytes = data_.ConsumeIntegral<std::uint32_t>();
    chain.AppendRaw(at, bytes, data_.ConsumeIntegral<std::uint16_t>());
  }

  void PushFrame() { machine_.backend->Push(Body(), Header()); }

  void Bend() {
    FakeDriverQueue& ring = rings_[data_.ConsumeIntegralInRange<std::size_t>(0, kQueues - 1)];
    if (data_.ConsumeBool()) {
      ring.SetAvailIndex(data_.ConsumeIntegral<std::uint16_t>());
    } else {
      ring.SetAvailEntry(data_.ConsumeIntegralInRange<std::uint16_t>(0, 15),
                         data_.ConsumeIntegral<std::uint16_t>());
    }
  }

  static const GuestMemory* Memory() {
    static const auto memory = testing::MakeTestMemory(kMemory);
    return memory.get();
  }

  Machine& machine_;
  FuzzedDataProvider& data_;
  std::vector<FakeDriverQueue> rings_;
  const EventFd kicks_[kQueues] = {MakeEvent(), MakeEvent(), MakeEvent()};
  FakeInterrupt interrupt_, config_interrupt_, needs_reset_;
};

}  // namespace
}  // namespace gemel

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  gemel::SetLogLevel(gemel::LogLevel::kError);
  static gemel::Machine machines[] = {gemel::Machine(gemel::FakeNetBackend::kAll),
                                      gemel::Machine(0)};
  FuzzedDataProvider data(bytes, size);
  gemel::Machine& machine = machines[data.ConsumeIntegralInRange(0, 1)];
  gemel::Fuzzer(machine, data).Run();
  return 0;
}
