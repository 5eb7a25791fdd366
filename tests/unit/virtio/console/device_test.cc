#include "virtio/console/device.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/log.h"
#include "tests/fakes/fake_driver_queue.h"
#include "tests/fakes/fake_interrupt.h"
#include "tests/fakes/fake_mmio_driver.h"
#include "virtio/console/config_space.h"
#include "virtio/console/request.h"
#include "virtio/transport/mmio_transport.h"

namespace gemel::virtio {
namespace {

using testing::DescriptorChainBuilder;
using testing::FakeDriverQueue;
using testing::FakeInterrupt;
using testing::FakeMmioDriver;
using Event = ConsoleEvent;

constexpr std::uint64_t kMultiport = kFeatureVersion1 | kConsoleFeatureMultiport;
constexpr std::size_t kQueues = 8;  // console, control, two channels

bool Ready(int fd, short events) {
  pollfd poll_fd{fd, events, 0};
  return poll(&poll_fd, 1, 10'000) == 1;
}

// A listening socket in the abstract namespace, so that nothing is left behind.
struct Listener {
  Listener() {
    fd.Reset(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un any{};
    any.sun_family = AF_UNIX;
    // SAFETY: sockaddr_un is a sockaddr by the sockets interface.
    CHECK(bind(fd.get(), reinterpret_cast<sockaddr*>(&any), sizeof any.sun_family) == 0);
    CHECK(listen(fd.get(), 8) == 0);
    length = sizeof address;
    CHECK(getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &length) == 0);
  }
  UniqueFd Connect() const {
    UniqueFd client(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    // SAFETY: as above.
    CHECK(connect(client.get(), reinterpret_cast<const sockaddr*>(&address), length) == 0);
    return client;
  }
  HostEnd::Fds Fds() const { return {.listener = UniqueFd(dup(fd.get())), .in = {}, .out = {}}; }
  UniqueFd fd;
  sockaddr_un address{};
  socklen_t length = 0;
};

// The device behind its real transport and on its real thread: a console on pipes, and channels "a"
// and "b" on sockets.
class ConsoleTest : public ::testing::Test {
 protected:
  ConsoleTest() {
    signal(SIGPIPE, SIG_IGN);
    int to_guest[2];
    int from_guest[2];
    CHECK(pipe2(to_guest, O_CLOEXEC) == 0 && pipe2(from_guest, O_CLOEXEC) == 0);
    keyboard_.Reset(to_guest[1]);
    screen_.Reset(from_guest[0]);
    ConsoleOptions options{.name = "console0", .console = HostEnd::Fds{}, .channels = {}};
    options.console->in.Reset(to_guest[0]);
    options.console->out.Reset(from_guest[1]);
    options.channels.push_back({"a", a_.Fds()});
    options.channels.push_back({"b", b_.Fds()});
    std::vector<MemoryRange> ranges;
    for (std::uint64_t i = 0; i < kQueues; ++i)
      ranges.push_back({GuestAddress{(2 * i) << 20}, 1 << 20});
    auto memory = GuestMemory::Create(ranges, MemoryBacking::kAnonymous);
    CHECK(memory.has_value());
    memory_ = *std::move(memory);
    auto console = CreateConsole(std::move(options));
    CHECK(console.has_value());
    auto transport = MmioTransport::Create({.memory = memory_.get(),
                                            .io_events = nullptr,
                                            .base = 0,
                                            .line = &line_,
                                            .name = "console0"},
                                           *std::move(console));
    CHECK(transport.has_value());
    transport_ = *std::move(transport);
    driver_.emplace(*transport_);
  }

  void Start(std::uint64_t features = kMultiport) {
    driver_->Reset();
    ASSERT_EQ(driver_->status(), 0u);
    ASSERT_TRUE(memory_->Clear());
    queues_.clear();
    for (std::uint64_t i = 0; i < kQueues; ++i)
      queues_.emplace_back(*memory_, std::uint16_t{64}, GuestAddress{(2 * i) << 20});
    ASSERT_TRUE(driver_->Negotiate(features));
    const bool multiport = (features & kConsoleFeatureMultiport) != 0;
    for (std::uint32_t i = 0; i < (multiport ? kQueues : 2); ++i)
      driver_->SetUpQueue(i, queues_[i].layout());
    driver_->SetStatus(kStatusDriverOk);
    ASSERT_EQ(driver_->status() & kStatusNeedsReset, 0u);
    if (multiport)
      for (int i = 0; i < 16; ++i) OfferBuffer(kConsoleControlRxQueue);
  }

  void OfferBuffer(std::uint32_t queue, std::uint32_t bytes = 256) {
    GuestAddress at;
    const std::uint16_t head =
        DescriptorChainBuilder(queues_[queue]).AppendWritable(bytes, &at).Build();
    buffers_[{queue, head}] = at;
    driver_->Notify(queue);
  }
  UsedElement AwaitUsed(std::uint32_t queue) {
    for (;;) {
      const int before = line_.count();
      if (const auto used = queues_[queue].TakeUsed()) return *used;
      CHECK(line_.WaitFor(before + 1));
    }
  }
  // What the device put into the queue's next buffer.
  std::string Take(std::uint32_t queue) {
    const UsedElement used = AwaitUsed(queue);
    const GuestAddress at = buffers_[{queue, static_cast<std::uint16_t>(used.id)}];
    const auto bytes = queues_[queue].ReadGuest(at, used.length);
    // SAFETY: bytes as characters.
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  void Send(std::uint32_t queue, const std::string& text) {
    DescriptorChainBuilder(queues_[queue]).AppendReadable(text).Build();
    driver_->Notify(queue);
  }
  void Control(std::uint32_t port, Event event, std::uint16_t value) {
    Send(kConsoleControlTxQueue, EncodeConsoleControl(port, event, value));
  }
  void Expect(std::uint32_t port, Event event, std::uint16_t value, const std::string& name = "") {
    EXPECT_EQ(Take(kConsoleControlRxQueue), EncodeConsoleControl(port, event, value, name));
    OfferBuffer(kConsoleControlRxQueue);
  }
  // As Linux does.
  void BringUp() {
    Start();
    Control(0, Event::kDeviceReady, 1);
    for (std::uint32_t port = 0; port < 3; ++port) Expect(port, Event::kDeviceAdd, 1);
    Control(0, Event::kPortReady, 1);
    Expect(0, Event::kConsolePort, 1);
    Expect(0, Event::kPortOpen, 1);
    Control(1, Event::kPortReady, 1);
    Expect(1, Event::kPortName, 1, "a");
  }
  UniqueFd ConnectToA() {
    UniqueFd client = a_.Connect();
    Expect(1, Event::kPortOpen, 1);
    return client;
  }

  static std::string Read(int fd) {
    CHECK(Ready(fd, POLLIN));
    std::string text(65536, '\0');
    const ssize_t n = read(fd, text.data(), text.size());
    text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return text;
  }
  static void Write(int fd, const std::string& text) {
    CHECK(write(fd, text.data(), text.size()) == std::ssize(text));
  }

  static constexpr std::uint32_t kRxA = 4;
  static constexpr std::uint32_t kTxA = 5;
  std::unique_ptr<GuestMemory> memory_;
  std::vector<FakeDriverQueue> queues_;
  std::map<std::pair<std::uint32_t, std::uint16_t>, GuestAddress> buffers_;
  FakeInterrupt line_;
  UniqueFd keyboard_, screen_;
  Listener a_, b_;
  std::unique_ptr<MmioTransport> transport_;
  std::optional<FakeMmioDriver> driver_;
};

TEST_F(ConsoleTest, Config_HasThePorts) {
  EXPECT_EQ(driver_->Read(mmio::kConfig), 0u);
  EXPECT_EQ(driver_->Read(mmio::kConfig + 4), 3u);
}

TEST_F(ConsoleTest, Console_CarriesBytesBothWays) {
  BringUp();
  Send(1, "login: ");
  EXPECT_EQ(Read(screen_.get()), "login: ");
  OfferBuffer(0);
  Write(keyboard_.get(), "root\n");
  EXPECT_EQ(Take(0), "root\n");
}

TEST_F(ConsoleTest, ConsoleWithoutMultiport_WorksToo) {
  Start(kFeatureVersion1);
  Send(1, "hello");
  EXPECT_EQ(Read(screen_.get()), "hello");
  OfferBuffer(0);
  Write(keyboard_.get(), "x");
  EXPECT_EQ(Take(0), "x");
}

TEST_F(ConsoleTest, Channel_CarriesBytesBothWays) {
  BringUp();
  const UniqueFd client = ConnectToA();
  Control(1, Event::kPortOpen, 1);
  OfferBuffer(kRxA);
  Write(client.get(), "question");
  EXPECT_EQ(Take(kRxA), "question");
  Send(kTxA, "answer");
  EXPECT_EQ(Read(client.get()), "answer");
}

TEST_F(ConsoleTest, ClientThatConnectedBeforeTheGuestCameUp_IsTold) {
  const UniqueFd client = a_.Connect();
  BringUp();
  Expect(1, Event::kPortOpen, 1);
}

TEST_F(ConsoleTest, ClientThatLeaves_IsTold_AndTheNextToo) {
  BringUp();
  UniqueFd client = ConnectToA();
  client.Reset();
  Expect(1, Event::kPortOpen, 0);
  const UniqueFd next = ConnectToA();
}

TEST_F(ConsoleTest, SecondClient_IsTurnedAway) {
  BringUp();
  const UniqueFd client = ConnectToA();
  const UniqueFd second = a_.Connect();
  EXPECT_EQ(Read(second.get()), "");
  Send(kTxA, "still there");
  EXPECT_EQ(Read(client.get()), "still there");
}

TEST_F(ConsoleTest, BytesForAPortThatNobodyHasOpen_Wait) {
  BringUp();
  const UniqueFd client = ConnectToA();
  OfferBuffer(kRxA);
  Write(client.get(), "early");
  Send(kTxA, "ping");  // once this is through, the device has looked
  EXPECT_EQ(Read(client.get()), "ping");
  EXPECT_EQ(queues_[kRxA].TakeUsed(), std::nullopt);
  Control(1, Event::kPortOpen, 1);
  EXPECT_EQ(Take(kRxA), "early");
}

TEST_F(ConsoleTest, WhatIsWrittenToNobody_IsLost_AndDoesNotWait) {
  BringUp();
  for (int i = 0; i < 10; ++i) Send(kTxA, "lost");
  for (int i = 0; i < 10; ++i) AwaitUsed(kTxA);
  const UniqueFd client = ConnectToA();
  Send(kTxA, "heard");
  EXPECT_EQ(Read(client.get()), "heard");
}

TEST_F(ConsoleTest, SlowReader_LosesNothing_AndHoldsUpNoOtherPort) {
  BringUp();
  const UniqueFd client = ConnectToA();
  const std::string part(8000, 'x');
  for (int i = 0; i < 60; ++i) Send(kTxA, part);
  Send(1, "console");
  EXPECT_EQ(Read(screen_.get()), "console");
  std::size_t got = 0;
  while (got < 60 * part.size()) got += Read(client.get()).size();
  for (int i = 0; i < 60; ++i) AwaitUsed(kTxA);
}

TEST_F(ConsoleTest, ClientThatLeavesWithAChainHalfRead_FreesIt) {
  BringUp();
  UniqueFd client = ConnectToA();
  for (int i = 0; i < 60; ++i) Send(kTxA, std::string(8000, 'x'));
  EXPECT_FALSE(Read(client.get()).empty());
  client.Reset();
  for (int i = 0; i < 60; ++i) AwaitUsed(kTxA);
}

TEST_F(ConsoleTest, ResetWithAChainHalfWritten_DoesNotWaitForTheReader) {
  BringUp();
  const UniqueFd client = ConnectToA();
  for (int i = 0; i < 60; ++i) Send(kTxA, std::string(8000, 'x'));
  BringUp();
  Expect(1, Event::kPortOpen, 1);  // the client stayed
}

TEST_F(ConsoleTest, ConsoleWhoseReaderIsGone_DoesNotWait) {
  BringUp();
  screen_.Reset();
  for (int i = 0; i < 10; ++i) Send(1, "to nobody");
  for (int i = 0; i < 10; ++i) AwaitUsed(1);
}

TEST_F(ConsoleTest, JunkControlMessages_ArePassedOver) {
  BringUp();
  Send(kConsoleControlTxQueue, "short");
  Control(99, Event::kPortReady, 1);
  Control(0xffff'ffff, Event::kPortOpen, 1);
  Control(1, static_cast<Event>(77), 1);
  Control(1, Event::kDeviceAdd, 1);
  Control(2, Event::kPortReady, 1);
  Expect(2, Event::kPortName, 1, "b");
}

TEST_F(ConsoleTest, ControlStormWithoutBuffers_GrowsNothing_AndIsAnsweredOnce) {
  BringUp();
  while (queues_[kConsoleControlRxQueue].TakeUsed()) {
  }
  for (int i = 0; i < 2000; ++i) {
    Control(0, Event::kPortReady, 1);
    AwaitUsed(kConsoleControlTxQueue);
    // Its buffers run out soon; then flags alone are left.
  }
  EXPECT_EQ(driver_->status() & kStatusNeedsReset, 0u);
}

TEST_F(ConsoleTest, BrokenRing_NeedsReset_AndStartingAgainWorks) {
  BringUp();
  SetLogLevel(LogLevel::kError);
  queues_[kTxA].Offer(64);
  driver_->Notify(kTxA);
  while ((driver_->status() & kStatusNeedsReset) == 0) sched_yield();
  SetLogLevel(LogLevel::kInfo);
  BringUp();
}

TEST_F(ConsoleTest, PortsThatWereNotMade_AreNotSpokenOf) {
  Start();
  Control(0, Event::kDeviceReady, 1);
  for (std::uint32_t port = 0; port < 3; ++port) Expect(port, Event::kDeviceAdd, 1);
  const UniqueFd client = a_.Connect();
  Control(1, Event::kPortReady, 0);
  Control(2, Event::kPortReady, 1);
  Expect(2, Event::kPortName, 1, "b");
}

}  // namespace
}  // namespace gemel::virtio
