// A driver that mostly speaks virtio-console and now and then does not, and clients on the host that
// come, write, read and go: real queues, the real device on its real thread, real sockets.
#include <fuzzer/FuzzedDataProvider.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <csignal>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/log.h"
#include "tests/fakes/fake_driver_queue.h"
#include "tests/fakes/fake_interrupt.h"
#include "virtio/console/config_space.h"
#include "virtio/console/device.h"
#include "virtio/console/request.h"

namespace gemel::virtio {
namespace {

using testing::DescriptorChainBuilder;
using testing::FakeDriverQueue;
using testing::FakeInterrupt;

constexpr std::size_t kQueues = 6;            // a console, control, a channel
constexpr std::uint64_t kRings = 128u << 10;  // a queue's, with its buffers

EventFd MakeEvent() {
  auto event = EventFd::Create();
  CHECK(event.has_value());
  return *std::move(event);
}

// One device for all inputs, and the host's ends of its ports.
struct Machine {
  Machine() {
    signal(SIGPIPE, SIG_IGN);
    UniqueFd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un any{};
    any.sun_family = AF_UNIX;
    // SAFETY: sockaddr_un is a sockaddr by the sockets interface.
    CHECK(bind(listener.get(), reinterpret_cast<sockaddr*>(&any), sizeof any.sun_family) == 0);
    CHECK(listen(listener.get(), 64) == 0);
    length = sizeof address;
    CHECK(getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &length) == 0);
    int ends[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    console.Reset(ends[0]);
    ConsoleOptions options{.name = "console0", .console = HostEnd::Fds{}, .channels = {}};
    options.console->in.Reset(ends[1]);
    options.console->out.Reset(dup(ends[1]));
    options.channels.push_back(
        {"a", {.listener = std::move(listener), .in = UniqueFd(), .out = UniqueFd()}});
    auto made = CreateConsole(std::move(options));
    CHECK(made.has_value());
    device = *std::move(made);
  }
  sockaddr_un address{};
  socklen_t length = 0;
  UniqueFd console;
  std::unique_ptr<VirtioDevice> device;
};

class Fuzzer {
 public:
  Fuzzer(Machine& machine, FuzzedDataProvider& data) : machine_(machine), data_(data) {
    for (std::size_t i = 0; i < kQueues; ++i) {
      const GuestAddress at{i * kRings};
      CHECK(Memory()->WriteBytes(at, std::vector<std::byte>(4096)));
      queues_.emplace_back(*Memory(), std::uint16_t{32}, at);
    }
  }

  void Run() {
    for (int i = data_.ConsumeIntegralInRange(0, 12); i > 0; --i) Offer();
    if (Rarely()) Bend();
    Start();
    for (int i = data_.ConsumeIntegralInRange(0, 12); i > 0; --i) {
      if (data_.ConsumeBool()) {
        Offer();
        kicks_[data_.ConsumeIntegralInRange<std::size_t>(0, kQueues - 1)].Signal();
      } else {
        HostActs();
      }
    }
    std::promise<void> done;
    machine_.device->Reset([&done] { done.set_value(); });
    done.get_future().get();
  }

 private:
  bool Rarely() { return data_.ConsumeIntegralInRange(0, 15) == 15; }

  void Start() {
    std::uint64_t features = machine_.device->features() | kFeatureVersion1 | kFeatureIndirectDesc;
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
    CHECK(machine_.device->Activate(std::move(activation)).has_value());
  }

  void Offer() {
    const auto number = data_.ConsumeIntegralInRange<std::size_t>(0, kQueues - 1);
    FakeDriverQueue& queue = queues_[number];
    while (queue.TakeUsed()) {
    }
    if (queue.free_descriptors() < 3) return;
    DescriptorChainBuilder chain(queue);
    if (number == kConsoleControlTxQueue && !Rarely()) {
      const auto port = data_.ConsumeIntegralInRange<std::uint32_t>(0, 2);
      const auto event = data_.ConsumeIntegralInRange<std::uint16_t>(0, 8);
      chain.AppendReadable(EncodeConsoleControl(port, static_cast<ConsoleEvent>(event),
                                                data_.ConsumeIntegralInRange<std::uint16_t>(0, 2)));
    } else if (number % 2 == 1) {
      chain.AppendReadable(data_.ConsumeRandomLengthString(200) + "x");
      if (Rarely()) chain.AppendReadable(std::string(30'000, 'y'));
    }
    if (number % 2 == 0 || Rarely())
      chain.AppendWritable(data_.ConsumeIntegralInRange<std::uint32_t>(0, 300));
    chain.Build();
  }

  void HostActs() {
    std::array<char, 4096> bytes{};
    const int fd = client_ && data_.ConsumeBool() ? client_.get() : machine_.console.get();
    switch (data_.ConsumeIntegralInRange(0, 4)) {
      case 0:
        client_.Reset(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        // SAFETY: as above.
        if (connect(client_.get(), reinterpret_cast<const sockaddr*>(&machine_.address),
                    machine_.length) != 0)
          client_.Reset();
        return;
      case 1:
        client_.Reset();
        return;
      case 2:
        send(fd, bytes.data(), data_.ConsumeIntegralInRange<std::size_t>(1, bytes.size()),
             MSG_NOSIGNAL | MSG_DONTWAIT);
        return;
      case 3:
        if (client_) shutdown(client_.get(), data_.ConsumeIntegralInRange(0, 2));
        return;
      default:
        [[maybe_unused]] const ssize_t n = recv(fd, bytes.data(), bytes.size(), MSG_DONTWAIT);
    }
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
      auto made = GuestMemory::Create(ranges, MemoryBacking::kAnonymous);
      CHECK(made.has_value());
      return *std::move(made);
    }();
    return memory.get();
  }

  Machine& machine_;
  FuzzedDataProvider& data_;
  std::vector<FakeDriverQueue> queues_;
  std::array<EventFd, kQueues> kicks_{MakeEvent(), MakeEvent(), MakeEvent(),
                                      MakeEvent(), MakeEvent(), MakeEvent()};
  FakeInterrupt interrupt_;
  UniqueFd client_;
};

}  // namespace
}  // namespace gemel::virtio

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  gemel::SetLogLevel(gemel::LogLevel::kError);
  static gemel::virtio::Machine machine;
  FuzzedDataProvider data(bytes, size);
  gemel::virtio::Fuzzer(machine, data).Run();
  return 0;
}
