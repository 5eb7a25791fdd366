#include "virtio/net/device.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <future>
#include <string>

#include "base/check.h"
#include "base/event_loop.h"
#include "net/announcement.h"
#include "tests/fakes/fake_driver_queue.h"
#include "tests/fakes/fake_interrupt.h"
#include "tests/fakes/fake_net_backend.h"
#include "tests/fakes/fake_permit.h"
#include "tests/fakes/test_memory.h"
#include "virtio/net/config_space.h"

namespace gemel::virtio {
namespace {

using namespace std::string_literals;
using testing::DescriptorChainBuilder;
using testing::FakeDriverQueue;
using testing::FakeInterrupt;
using testing::FakeNetBackend;
using testing::MakeTestMemory;

constexpr MacAddress kMac = {2, 0, 0, 0, 0, 1};

EventFd MakeEvent() {
  auto event = EventFd::Create();
  CHECK(event.has_value());
  return *std::move(event);
}

// A frame to this guest whose byte at n is n.
std::vector<std::byte> Frame(std::size_t bytes) {
  std::vector<std::byte> frame(bytes);
  for (std::size_t i = 0; i < bytes; ++i) frame[i] = static_cast<std::byte>(i);
  for (std::size_t i = 0; i < kMac.size(); ++i) frame[i] = std::byte{kMac[i]};
  return frame;
}
std::string Text(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
std::string HeaderText(const net::FrameHeader& header = {}) {
  return {reinterpret_cast<const char*>(&header), sizeof header};
}

// One queue as a driver has it.
struct DriverQueue {
  DriverQueue(const GuestMemory& memory, std::uint16_t size, std::uint64_t base)
      : ring(memory, size, GuestAddress{base}) {}
  FakeDriverQueue ring;
  EventFd kick = MakeEvent();
  FakeInterrupt interrupt;

  UsedElement AwaitUsed() {
    for (;;) {
      const int before = interrupt.count();
      if (const auto used = ring.TakeUsed()) return *used;
      CHECK(interrupt.WaitFor(before + 1));
    }
  }
};

// The device on its real threads, and a driver that sleeps until interrupted.
class NetTest : public ::testing::Test {
 protected:
  ~NetTest() override {
    if (started_) Reset();
  }
  void Make(std::size_t pairs = 1, net::Offloads offloads = FakeNetBackend::kAll,
            bool connected = true) {
    NetOptions options;
    options.name = "net0";
    options.mac = kMac;
    options.mtu = 9000;
    options.permit = &permit_;
    options.announce = announce_;
    for (std::size_t i = 0; i < pairs; ++i) {
      auto backend = std::make_unique<FakeNetBackend>(offloads);
      backend->SetConnected(connected);
      backends_.push_back(backend.get());
      options.backends.push_back(std::move(backend));
    }
    auto device = CreateNet(std::move(options));
    CHECK(device.has_value());
    device_ = *std::move(device);
  }
  void Start(std::uint64_t without = 0, std::uint16_t queue_size = 64) {
    if (device_ == nullptr) Make();
    const std::uint64_t features = (device_->features() & ~without) | kFeatureVersion1;
    Activation activation;
    activation.memory = memory_.get();
    activation.config_interrupt = &config_interrupt_;
    activation.needs_reset = [this] { needs_reset_.Trigger(); };
    activation.features = features;
    const std::size_t count = device_->queue_sizes().size();
    for (std::size_t i = 0; i < count; ++i) {
      queues_.push_back(
          std::make_unique<DriverQueue>(*memory_, queue_size, 0x1000 + i * (2 << 20)));
      auto queue = VirtQueue::Create(*memory_, queues_[i]->ring.layout(), features, 128);
      CHECK(queue.has_value());
      activation.queues.push_back({.index = static_cast<std::uint16_t>(i),
                                   .queue = *std::move(queue),
                                   .kick = &queues_[i]->kick,
                                   .interrupt = &queues_[i]->interrupt});
    }
    CHECK(device_->Activate(std::move(activation)).has_value());
    started_ = true;
  }
  void Reset() {
    std::promise<void> done;
    started_ = false;
    device_->Reset([&done] { done.set_value(); });
    done.get_future().get();
  }

  DriverQueue& rx(std::size_t pair = 0) { return *queues_[2 * pair]; }
  DriverQueue& tx(std::size_t pair = 0) { return *queues_[2 * pair + 1]; }
  FakeNetBackend& backend(std::size_t pair = 0) { return *backends_[pair]; }

  // Offers a receive buffer and kicks.
  GuestAddress Offer(std::uint32_t bytes, std::size_t pair = 0) {
    GuestAddress at;
    DescriptorChainBuilder(rx(pair).ring).AppendWritable(bytes, &at).Build();
    rx(pair).kick.Signal();
    return at;
  }
  net::FrameHeader HeaderAt(GuestAddress at) {
    net::FrameHeader header;
    const auto bytes = rx().ring.ReadGuest(at, sizeof header);
    std::memcpy(&header, bytes.data(), sizeof header);
    return header;
  }
  void Send(const std::string& header, const std::vector<std::byte>& frame, std::size_t pair = 0) {
    DescriptorChainBuilder(tx(pair).ring)
        .AppendReadable(header)
        .AppendReadable(std::span<const std::byte>(frame))
        .Build();
    tx(pair).kick.Signal();
  }
  NetControlAck Control(const std::string& command) {
    DriverQueue& queue = *queues_.back();
    GuestAddress ack;
    DescriptorChainBuilder(queue.ring).AppendReadable(command).AppendWritable(1, &ack).Build();
    queue.kick.Signal();
    EXPECT_EQ(queue.AwaitUsed().length, 1u);
    return static_cast<NetControlAck>(queue.ring.ReadGuest(ack, 1)[0]);
  }
  NetConfigSpace Config() {
    NetConfigSpace config;
    device_->ReadConfig(0, std::as_writable_bytes(std::span(&config, 1)));
    return config;
  }
  std::uint64_t Counter(std::string_view name) {
    for (const auto& [key, value] : device_->counters())
      if (key == name) return value;
    return ~0ull;
  }

  std::unique_ptr<GuestMemory> memory_ = MakeTestMemory(16 << 20);
  std::vector<std::unique_ptr<DriverQueue>> queues_;
  FakeInterrupt config_interrupt_, needs_reset_;
  testing::FakePermit permit_;
  bool announce_ = false;
  std::unique_ptr<NetDevice> device_;
  std::vector<FakeNetBackend*> backends_;  // device_'s
  bool started_ = false;
};

// ---- with a permit

TEST_F(NetTest, FrameWithoutPermit_IsHeldUntilItIsRenewed) {
  Start();
  const Permit::Member& member = permit_.members.at(0);
  permit_.holds = false;
  Send(HeaderText(), Frame(100));
  member.loop->Post(member.over);
  ASSERT_TRUE(backend().WaitForLink(false));
  EXPECT_TRUE(backend().sent().empty());
  permit_.holds = true;
  member.loop->Post(member.renewed);
  ASSERT_TRUE(backend().WaitForSent(1));
  EXPECT_TRUE(backend().WaitForLink(true));
}

TEST_F(NetTest, Announces_WhereItsAddressIsWhenTheDriverBegins) {
  announce_ = true;
  Make(2);
  Start();
  ASSERT_TRUE(backend().WaitForSent(1));
  const auto wanted = net::Announcement(kMac);
  EXPECT_TRUE(std::ranges::equal(backend().sent()[0].bytes, wanted));
  EXPECT_EQ(backend().sent()[0].header.flags, 0);
  Send(HeaderText(), Frame(100));
  ASSERT_TRUE(backend().WaitForSent(2));
  EXPECT_EQ(backend().sent().size(), 2u);
  EXPECT_TRUE(backend(1).sent().empty());
}

TEST_F(NetTest, AnnouncesNothing_WithoutPermitOrCable) {
  announce_ = true;
  Make();
  device_->SetLink(false);
  Start();
  Reset();
  device_->SetLink(true);
  permit_.holds = false;
  queues_.clear();
  Start();
  std::promise<void> looked;
  permit_.members.at(0).loop->Post([&] { looked.set_value(); });
  looked.get_future().get();
  EXPECT_TRUE(backend().sent().empty());
}

TEST_F(NetTest, CableMovedWithoutPermit_HasNoCarrierUntilItIsRenewed) {
  Start();
  const Permit::Member& member = permit_.members.at(0);
  permit_.holds = false;
  member.loop->Post(member.over);
  ASSERT_TRUE(backend().WaitForLink(false));
  device_->SetLink(false);
  device_->SetLink(true);
  std::promise<void> looked;
  member.loop->Post([&] { looked.set_value(); });
  looked.get_future().get();
  EXPECT_TRUE(backend().WaitForLink(false));
  permit_.holds = true;
  member.loop->Post(member.renewed);
  EXPECT_TRUE(backend().WaitForLink(true));
}

// ---- receiving

TEST_F(NetTest, Frame_FillsABuffer) {
  Start();
  const GuestAddress at = Offer(2048);
  backend().Push(Frame(100), {.flags = 1,
                              .gso_type = 0,
                              .hdr_len = 0,
                              .gso_size = 0,
                              .csum_start = 34,
                              .csum_offset = 16,
                              .num_buffers = 0});
  EXPECT_EQ(rx().AwaitUsed().length, 112u);
  EXPECT_EQ(HeaderAt(at).num_buffers, 1);
  EXPECT_EQ(HeaderAt(at).flags, 1);
  EXPECT_EQ(HeaderAt(at).csum_start, 34);
  EXPECT_EQ(rx().ring.ReadGuest(GuestAddress{at.value + 12}, 100), Frame(100));
  EXPECT_EQ(Counter("rx_packets"), 1u);
  EXPECT_EQ(Counter("rx_bytes"), 100u);
}
TEST_F(NetTest, LargeFrame_FillsSeveralBuffersThatAppearAtOnce) {
  Start();
  std::vector<GuestAddress> at;
  for (int i = 0; i < 4; ++i) at.push_back(Offer(1024));
  backend().Push(Frame(3000));
  EXPECT_EQ(rx().AwaitUsed().length, 1024u);
  EXPECT_EQ(rx().ring.TakeUsed()->length, 1024u);
  EXPECT_EQ(rx().ring.TakeUsed()->length, 964u);
  EXPECT_EQ(HeaderAt(at[0]).num_buffers, 3);
  std::vector<std::byte> got = rx().ring.ReadGuest(GuestAddress{at[0].value + 12}, 1012);
  for (const std::byte b : rx().ring.ReadGuest(at[1], 1024)) got.push_back(b);
  for (const std::byte b : rx().ring.ReadGuest(at[2], 964)) got.push_back(b);
  EXPECT_EQ(got, Frame(3000));
}
TEST_F(NetTest, LargestFrame_AfterSmallOnes_IsWhole) {
  Start();
  for (int i = 0; i < 50; ++i) Offer(2048);
  backend().Push(Frame(60));
  EXPECT_EQ(rx().AwaitUsed().length, 72u);
  backend().Push(Frame(65553));
  std::uint64_t total = 0;
  int buffers = 0;
  for (; total < 65565; ++buffers) total += rx().AwaitUsed().length;
  EXPECT_EQ(total, 65565u);
  EXPECT_EQ(buffers, 33);
  EXPECT_EQ(Counter("rx_bytes"), 65613u);
}
TEST_F(NetTest, FrameWithoutBuffers_WaitsForThem) {
  Start();
  backend().Push(Frame(60));
  Offer(2048);
  EXPECT_EQ(rx().AwaitUsed().length, 72u);
  backend().Push(Frame(61));
  Offer(2048);
  EXPECT_EQ(rx().AwaitUsed().length, 73u);
}
TEST_F(NetTest, FrameLargerThanTheBuffersThere_WaitsForMore) {
  Start();
  Offer(1024);
  backend().Push(Frame(1500));
  ASSERT_TRUE(backend().WaitForDrained());
  EXPECT_FALSE(rx().ring.TakeUsed());
  const GuestAddress at = Offer(1024);
  EXPECT_EQ(rx().AwaitUsed().length, 1024u);
  EXPECT_EQ(rx().ring.TakeUsed()->length, 488u);
  EXPECT_EQ(rx().ring.ReadGuest(at, 1)[0], Frame(1500)[1012]);
}
TEST_F(NetTest, FrameLargerThanAllBuffers_IsDroppedAndTheNextOneIsNot) {
  Start(0, 4);
  for (int i = 0; i < 4; ++i) Offer(1024);
  backend().Push(Frame(5000));
  backend().Push(Frame(60));
  EXPECT_EQ(rx().AwaitUsed().length, 72u);
  EXPECT_EQ(Counter("rx_dropped"), 1u);
}
TEST_F(NetTest, WithoutMergeableBuffers_AFrameHasOneChain) {
  Start(kNetFeatureMrgRxbuf);
  Offer(1024);
  const GuestAddress at = Offer(1024);
  backend().Push(Frame(1013));  // a byte too long
  backend().Push(Frame(1012));
  EXPECT_EQ(rx().AwaitUsed().length, 1024u);
  EXPECT_EQ(Counter("rx_dropped"), 1u);
  backend().Push(Frame(60));
  EXPECT_EQ(rx().AwaitUsed().length, 72u);
  EXPECT_EQ(HeaderAt(at).num_buffers, 1);
}
TEST_F(NetTest, HeaderInADescriptorOfItsOwn_IsFilled) {
  Start(kNetFeatureMrgRxbuf);
  GuestAddress header, body;
  DescriptorChainBuilder(rx().ring).AppendWritable(12, &header).AppendWritable(1514, &body).Build();
  rx().kick.Signal();
  backend().Push(Frame(100));
  EXPECT_EQ(rx().AwaitUsed().length, 112u);
  EXPECT_EQ(HeaderAt(header).num_buffers, 1);
  EXPECT_EQ(rx().ring.ReadGuest(body, 100), Frame(100));
}
TEST_F(NetTest, WithoutGuestChecksum_FlagsAreZero) {
  Start(kNetFeatureGuestCsum);
  const GuestAddress at = Offer(2048);
  backend().Push(Frame(60), {.flags = 2,
                             .gso_type = 0,
                             .hdr_len = 0,
                             .gso_size = 0,
                             .csum_start = 0,
                             .csum_offset = 0,
                             .num_buffers = 0});
  EXPECT_EQ(rx().AwaitUsed().length, 72u);
  EXPECT_EQ(HeaderAt(at).flags, 0);
}
TEST_F(NetTest, BufferSmallerThanAHeader_BreaksTheQueue) {
  Start();
  Offer(11);
  EXPECT_TRUE(needs_reset_.WaitFor(1));
}
TEST_F(NetTest, Reset_GivesStagedBuffersBack) {
  Start();
  for (int i = 0; i < 10; ++i) Offer(2048);
  backend().Push(Frame(60));
  EXPECT_EQ(rx().AwaitUsed().length, 72u);
  Reset();
  queues_.clear();
  Start();
  Offer(2048);
  backend().Push(Frame(60));
  EXPECT_EQ(rx().AwaitUsed().length, 72u);
}

// ---- sending

TEST_F(NetTest, SentFrame_ArrivesWithItsHeader) {
  Start();
  Send(HeaderText({.flags = 1,
                   .gso_type = 1,
                   .hdr_len = 54,
                   .gso_size = 1448,
                   .csum_start = 34,
                   .csum_offset = 16,
                   .num_buffers = 9}),
       Frame(5000));
  ASSERT_TRUE(backend().WaitForSent(1));
  EXPECT_EQ(tx().AwaitUsed().length, 0u);
  const auto sent = backend().sent();
  EXPECT_EQ(sent[0].bytes, Frame(5000));
  EXPECT_EQ(sent[0].header.gso_size, 1448);
  EXPECT_EQ(sent[0].header.num_buffers, 0);
  EXPECT_EQ(Counter("tx_packets"), 1u);
  EXPECT_EQ(Counter("tx_bytes"), 5000u);
}
TEST_F(NetTest, HeaderAndFrameInOneDescriptor_AreTakenApart) {
  Start();
  DescriptorChainBuilder(tx().ring).AppendReadable(HeaderText() + Text(Frame(60))).Build();
  tx().kick.Signal();
  ASSERT_TRUE(backend().WaitForSent(1));
  EXPECT_EQ(backend().sent()[0].bytes, Frame(60));
}
TEST_F(NetTest, FrameThatMakesNoSense_IsDroppedAndTheNextOneIsNot) {
  Start();
  Send("short", {});
  Send(HeaderText({.flags = 0,
                   .gso_type = 0x7f,
                   .hdr_len = 0,
                   .gso_size = 0,
                   .csum_start = 0,
                   .csum_offset = 0,
                   .num_buffers = 0}),
       Frame(60));
  Send(HeaderText(), Frame(61));
  ASSERT_TRUE(backend().WaitForSent(1));
  EXPECT_EQ(backend().sent()[0].bytes.size(), 61u);
  EXPECT_EQ(Counter("tx_dropped"), 2u);
}
TEST_F(NetTest, OffloadThatWasNotNegotiated_IsRefused) {
  Start(kNetFeatureHostTso4);
  Send(HeaderText({.flags = 1,
                   .gso_type = 1,
                   .hdr_len = 54,
                   .gso_size = 1448,
                   .csum_start = 34,
                   .csum_offset = 16,
                   .num_buffers = 0}),
       Frame(5000));
  tx().AwaitUsed();
  EXPECT_EQ(Counter("tx_dropped"), 1u);
}
TEST_F(NetTest, FullHost_KeepsFramesInOrderUntilThereIsRoom) {
  Start();
  backend().SetRoom(1);
  for (std::size_t i = 0; i < 10; ++i) Send(HeaderText(), Frame(60 + i));
  ASSERT_TRUE(backend().WaitForSent(1));
  backend().SetRoom(100);
  ASSERT_TRUE(backend().WaitForSent(10));
  for (std::size_t i = 0; i < 10; ++i) EXPECT_EQ(backend().sent()[i].bytes.size(), 60 + i);
}
TEST_F(NetTest, ResetWhileTheHostIsFull_GivesFramesBack) {
  Start();
  backend().SetRoom(0);
  for (std::size_t i = 0; i < 10; ++i) Send(HeaderText(), Frame(60));
  Reset();
  EXPECT_TRUE(backend().sent().empty());
}
TEST_F(NetTest, BrokenTransmitQueue_NeedsReset) {
  Start();
  tx().ring.SetAvailIndex(1000);
  tx().kick.Signal();
  EXPECT_TRUE(needs_reset_.WaitFor(1));
}

// ---- configuration, link, control queue

TEST_F(NetTest, Config_TellsAddressLinkPairsAndMtu) {
  Make(3);
  EXPECT_EQ(std::memcmp(Config().mac, kMac.data(), 6), 0);
  EXPECT_EQ(Config().status, kNetStatusLinkUp);
  EXPECT_EQ(Config().max_virtqueue_pairs, 3);
  EXPECT_EQ(Config().mtu, 9000);
}
TEST_F(NetTest, BackendWithoutOffloads_OffersNone) {
  Make(1, 0);
  constexpr std::uint64_t kNone = kNetFeatureCsum | kNetFeatureGuestCsum | kNetFeatureHostTso4 |
                                  kNetFeatureGuestTso4 | kNetFeatureMq |
                                  kNetFeatureCtrlGuestOffloads;
  EXPECT_EQ(device_->features() & kNone, 0u);
}
TEST_F(NetTest, Start_TellsTheHostWhatFramesMayLeaveUndone) {
  Start(kNetFeatureGuestTso6 | kNetFeatureGuestUfo | kNetFeatureGuestUso4 | kNetFeatureGuestEcn);
  EXPECT_TRUE(backend().WaitForReceiveOffloads(net::kChecksum | net::kTso4));
  EXPECT_EQ(Control("\5\0\2\0\0\0\0\0\0\0"s), NetControlAck::kOk);
  EXPECT_TRUE(backend().WaitForReceiveOffloads(net::kChecksum));
}
TEST_F(NetTest, LinkDown_IsSeenAndFramesAreDropped) {
  Start();
  Offer(2048);
  Send(HeaderText(), Frame(60));
  ASSERT_TRUE(backend().WaitForSent(1));
  tx().AwaitUsed();
  device_->SetLink(false);
  ASSERT_TRUE(config_interrupt_.WaitFor(1));
  EXPECT_EQ(Config().status, 0);
  ASSERT_TRUE(backend().WaitForLink(false));
  EXPECT_EQ(Control("\0\0\1"s), NetControlAck::kOk);  // the thread has seen the link by now
  Send(HeaderText(), Frame(60));
  tx().AwaitUsed();
  backend().Push(Frame(60));
  ASSERT_TRUE(backend().WaitForDrained());
  device_->SetLink(true);
  ASSERT_TRUE(config_interrupt_.WaitFor(2));
  EXPECT_EQ(Config().status, kNetStatusLinkUp | kNetStatusAnnounce);
  EXPECT_EQ(Control("\3\0"s), NetControlAck::kOk);
  EXPECT_EQ(Config().status, kNetStatusLinkUp);
  backend().Push(Frame(61));
  EXPECT_EQ(rx().AwaitUsed().length, 73u);
  EXPECT_EQ(backend().sent().size(), 1u);
  EXPECT_EQ(Counter("tx_dropped"), 1u);
  EXPECT_EQ(Counter("rx_dropped"), 1u);
}
TEST_F(NetTest, LinkBeforeTheDriver_IsTheOneItFinds) {
  Make();
  device_->SetLink(false);
  Start();
  EXPECT_EQ(Config().status, 0);
  EXPECT_FALSE(device_->link_up());
}
TEST_F(NetTest, OtherEndGone_TakesTheLinkDownOnce) {
  Start();
  Offer(2048);
  backend().HangUp();
  ASSERT_TRUE(config_interrupt_.WaitFor(1));
  EXPECT_EQ(Config().status, 0);
  Reset();
}
// Before the first look at the backend: two machines on a socket, the second one quick.
TEST_F(NetTest, OtherEndThatCameBeforeTheDriver_HasALink) {
  Make(1, FakeNetBackend::kAll, false);
  EXPECT_EQ(Config().status, 0);
  backend().SetConnected(true);
  Start();
  ASSERT_TRUE(config_interrupt_.WaitFor(1));
  EXPECT_EQ(Config().status, kNetStatusLinkUp);
  EXPECT_EQ(Control("\0\0\1"s), NetControlAck::kOk);  // the thread has seen the link by now
  Offer(2048);
  backend().Push(Frame(60));
  EXPECT_EQ(rx().AwaitUsed().length, 72u);
}
TEST_F(NetTest, Filter_ReceivesWhatTheDriverAskedFor) {
  Start();
  Offer(2048);
  EXPECT_EQ(Control("\0\0\0"s), NetControlAck::kOk);
  std::vector<std::byte> other = Frame(60);
  other[5] = std::byte{9};
  backend().Push(other);
  backend().Push(Frame(61));
  EXPECT_EQ(rx().AwaitUsed().length, 73u);
  EXPECT_EQ(Counter("rx_filtered"), 1u);
}
TEST_F(NetTest, AddressSet_IsInConfigUntilReset) {
  Start();
  EXPECT_EQ(Control("\1\1\2\0\0\0\0\7"s), NetControlAck::kOk);
  EXPECT_EQ(Config().mac[5], 7);
  Reset();
  EXPECT_EQ(Config().mac[5], 1);
}
TEST_F(NetTest, WrongCommand_IsRefused) {
  Start();
  EXPECT_EQ(Control("\x9\x9"s), NetControlAck::kError);
  EXPECT_EQ(Control("\4\0\2\0"s), NetControlAck::kError);
}

TEST_F(NetTest, Pairs_AreUsedWhenTheDriverSaysSo) {
  Make(2);
  EXPECT_TRUE(backend(1).WaitForActive(false));
  Start();
  EXPECT_EQ(Control("\4\0\2\0"s), NetControlAck::kOk);
  EXPECT_TRUE(backend(1).WaitForActive(true));
  Offer(2048, 1);
  backend(1).Push(Frame(60));
  EXPECT_EQ(rx(1).AwaitUsed().length, 72u);
  Send(HeaderText(), Frame(60), 1);
  EXPECT_TRUE(backend(1).WaitForSent(1));
  EXPECT_EQ(Control("\4\0\1\0"s), NetControlAck::kOk);
  EXPECT_TRUE(backend(1).WaitForActive(false));
}
TEST_F(NetTest, DriverWithoutPairs_HasItsControlQueueBehindTheFirst) {
  Make(2);
  Start(kNetFeatureMq);
  std::swap(queues_[2], queues_[4]);
  EXPECT_EQ(Control("\0\0\0"s), NetControlAck::kOk);
}

}  // namespace
}  // namespace gemel::virtio
