// A driver that mostly speaks virtio-blk and now and then does not: real queue, real device on its
// real thread, a disk in memory. Some requests stay in flight until a reset waits for them.
#include <fuzzer/FuzzedDataProvider.h>
#include <poll.h>
#include <sched.h>

#include <cstring>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "tests/fakes/fake_block_backend.h"
#include "tests/fakes/fake_driver_queue.h"
#include "tests/fakes/fake_interrupt.h"
#include "tests/fakes/test_memory.h"
#include "virtio/blk/config_space.h"
#include "virtio/blk/device.h"

namespace gemel {
namespace {

using testing::DescriptorChainBuilder;
using testing::FakeBlockBackend;
using testing::FakeDriverQueue;
using testing::FakeInterrupt;

constexpr std::uint64_t kMemory = 1 << 20;
constexpr std::uint64_t kDisk = 256 << 10;

struct Machine {
  Machine(bool read_only, std::uint32_t logical_block_size) {
    auto disk = std::make_unique<FakeBlockBackend>(FakeBlockBackend::Options{
        .size = kDisk,
        .read_only = read_only,
        .topology = {.logical_block_size = logical_block_size, .discard_granularity = 4096},
        .depth = 8});
    backend = disk.get();
    auto made = virtio::CreateBlk({.name = "blk0", .serial = "fuzz", .backend = std::move(disk)});
    CHECK(made.has_value());
    device = *std::move(made);
  }
  std::unique_ptr<virtio::VirtioDevice> device;
  FakeBlockBackend* backend;
};

EventFd MakeEvent() {
  auto event = EventFd::Create();
  CHECK(event.has_value());
  return *std::move(event);
}

class Fuzzer {
 public:
  Fuzzer(Machine& machine, FuzzedDataProvider& data) : machine_(machine), data_(data) {}

  void Run() {
    CHECK(Memory()->WriteBytes(GuestAddress{0}, std::vector<std::byte>(16 << 10)).has_value());
    for (int i = data_.ConsumeIntegralInRange(1, 12); i > 0; --i) OfferRequest();
    if (Rarely()) Bend();
    if (Rarely()) machine_.backend->Fail(Fault(), EIO);
    if (Rarely()) machine_.backend->Hold();
    if (!Start()) return;
    AwaitKickTaken();
    if (data_.ConsumeBool()) SecondKick();
    std::promise<void> done;
    machine_.device->Reset([&done] { done.set_value(); });
    machine_.backend->Release(data_.ConsumeBool());
    done.get_future().get();
    for (std::size_t op = 0; op < 5; ++op)
      machine_.backend->Fail(static_cast<FakeBlockBackend::Op>(op), 0);
  }

 private:
  bool Rarely() { return data_.ConsumeIntegralInRange(0, 15) == 15; }
  FakeBlockBackend::Op Fault() {
    return static_cast<FakeBlockBackend::Op>(data_.ConsumeIntegralInRange(0, 4));
  }

  // False where the driver asks for a queue that cannot be.
  bool Start() {
    std::uint64_t features =
        machine_.device->features() | virtio::kFeatureVersion1 | virtio::kFeatureIndirectDesc;
    if (Rarely()) features &= data_.ConsumeIntegral<std::uint64_t>();
    auto queue = virtio::VirtQueue::Create(*Memory(), driver_.layout(), features, 128);
    if (!queue) return false;
    virtio::Activation activation{.memory = Memory(),
                                  .queues = {},
                                  .config_interrupt = nullptr,
                                  .needs_reset = [this] { needs_reset_.Trigger(); },
                                  .features = features};
    activation.queues.push_back(
        {.index = 0, .queue = *std::move(queue), .kick = &kick_, .interrupt = &interrupt_});
    kick_.Signal();  // before the worker watches it, so that AwaitKickTaken sees it go
    return machine_.device->Activate(std::move(activation)).has_value();
  }

  // Returns when the worker is in OnKick or past it. A reset comes after it in any case.
  void AwaitKickTaken() {
    pollfd kick{.fd = kick_.get(), .events = POLLIN, .revents = 0};
    while (poll(&kick, 1, 0) == 1 && needs_reset_.count() == 0) sched_yield();
  }

  void SecondKick() {
    for (int i = data_.ConsumeIntegralInRange(0, 4); i > 0; --i) OfferRequest();
    kick_.Signal();
    AwaitKickTaken();
  }

  void OfferRequest() {
    if (driver_.free_descriptors() < 12) return;
    static constexpr std::uint32_t kTypes[] = {0, 1, 4, 8, 11, 13};
    const std::uint32_t type =
        Rarely() ? data_.ConsumeIntegral<std::uint32_t>() : data_.PickValueInArray(kTypes);
    const std::uint64_t sector = Rarely()
                                     ? data_.ConsumeIntegral<std::uint64_t>()
                                     : data_.ConsumeIntegralInRange<std::uint64_t>(0, kDisk / 512);
    const virtio::BlkRequestHeader header{type, 0, sector};
    std::string readable(reinterpret_cast<const char*>(&header), sizeof header);
    std::uint32_t writable = 1;
    const auto sectors = data_.ConsumeIntegralInRange<std::uint32_t>(0, 16);
    if (type == 0) writable += sectors * 512;
    if (type == 1) readable.append(std::size_t{sectors} * 512, 'w');
    if (type == 8) writable += data_.ConsumeIntegralInRange(0u, 40u);
    if (type == 11 || type == 13) readable += Segment();
    if (Rarely()) readable.resize(data_.ConsumeIntegralInRange<std::size_t>(0, readable.size()));
    if (Rarely()) writable = data_.ConsumeIntegralInRange(0u, 5000u);
    Build(readable, writable);
  }

  std::string Segment() {
    virtio::BlkSegment segment{data_.ConsumeIntegralInRange<std::uint64_t>(0, kDisk / 512),
                               data_.ConsumeIntegralInRange(0u, 64u),
                               data_.ConsumeIntegralInRange(0u, 1u)};
    if (Rarely()) data_.ConsumeData(&segment, sizeof segment);
    return {reinterpret_cast<const char*>(&segment), sizeof segment};
  }

  // Cuts the two parts into descriptors: at the usual places, or anywhere.
  void Build(std::string_view readable, std::uint32_t writable) {
    if (readable.empty() && writable == 0) return;
    DescriptorChainBuilder chain(driver_);
    if (data_.ConsumeBool()) chain.Indirect();
    std::size_t cut = Rarely() ? data_.ConsumeIntegralInRange<std::size_t>(0, readable.size())
                               : std::min<std::size_t>(readable.size(), 16);
    if (cut > 0) chain.AppendReadable(readable.substr(0, cut));
    if (cut < readable.size()) chain.AppendReadable(readable.substr(cut));
    if (Rarely()) {
      chain.AppendRaw(GuestAddress{data_.ConsumeIntegralInRange<std::uint64_t>(0, kMemory + 4096)},
                      data_.ConsumeIntegral<std::uint32_t>(),
                      data_.ConsumeIntegral<std::uint16_t>());
    }
    cut = Rarely() ? data_.ConsumeIntegralInRange<std::size_t>(0, writable)
                   : std::max<std::size_t>(writable, 1) - 1;
    if (cut > 0) chain.AppendWritable(static_cast<std::uint32_t>(cut));
    if (cut < writable) chain.AppendWritable(static_cast<std::uint32_t>(writable - cut));
    chain.Build();
  }

  void Bend() {
    if (data_.ConsumeBool()) {
      driver_.SetAvailIndex(data_.ConsumeIntegral<std::uint16_t>());
    } else {
      driver_.SetAvailEntry(data_.ConsumeIntegralInRange<std::uint16_t>(0, 15),
                            data_.ConsumeIntegral<std::uint16_t>());
    }
  }

  static const GuestMemory* Memory() {
    static const auto memory = testing::MakeTestMemory(kMemory);
    return memory.get();
  }

  Machine& machine_;
  FuzzedDataProvider& data_;
  FakeDriverQueue driver_{*Memory(), 128};
  EventFd kick_ = MakeEvent();
  FakeInterrupt interrupt_, needs_reset_;
};

}  // namespace
}  // namespace gemel

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  gemel::SetLogLevel(gemel::LogLevel::kError);
  static gemel::Machine machines[] = {{false, 512}, {true, 512}, {false, 4096}};
  FuzzedDataProvider data(bytes, size);
  gemel::Machine& machine = machines[data.ConsumeIntegralInRange(0, 2)];
  gemel::Fuzzer(machine, data).Run();
  return 0;
}
