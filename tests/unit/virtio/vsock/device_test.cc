#include "virtio/vsock/device.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/log.h"
#include "tests/fakes/fake_driver_queue.h"
#include "tests/fakes/fake_interrupt.h"
#include "tests/fakes/fake_mmio_driver.h"
#include "virtio/transport/mmio_transport.h"
#include "virtio/vsock/dial.h"

namespace gemel::virtio {
namespace {

using testing::DescriptorChainBuilder;
using testing::FakeDriverQueue;
using testing::FakeInterrupt;
using testing::FakeMmioDriver;

constexpr std::uint32_t kCid = 3;

struct Packet {
  VsockHeader header;
  std::string payload;
  VsockOp op() const { return static_cast<VsockOp>(std::uint16_t{header.op}); }
};

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
    CHECK(listen(fd.get(), 4096) == 0);
    length = sizeof address;
    CHECK(getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &length) == 0);
  }
  UniqueFd Connect() const {
    UniqueFd caller(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    // SAFETY: as above.
    CHECK(connect(caller.get(), reinterpret_cast<const sockaddr*>(&address), length) == 0);
    return caller;
  }
  UniqueFd fd;
  sockaddr_un address{};
  socklen_t length = 0;
};

// The device behind its real transport and on its real thread; the test is the guest's driver, the
// programs on the host and whoever dials.
class VsockTest : public ::testing::Test {
 protected:
  VsockTest() {
    int ends[2];
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
    dialer_.Reset(ends[0]);
    options_ = {.name = "vsock0",
                .guest_cid = kCid,
                .listener = UniqueFd(dup(listener_.fd.get())),
                .dialer = UniqueFd(ends[1])};
  }

  static std::unique_ptr<GuestMemory> MakeMemory() {
    const std::array ranges{MemoryRange{GuestAddress{0}, 16 << 20},
                            MemoryRange{GuestAddress{32 << 20}, 16 << 20}};
    auto memory = GuestMemory::Create(ranges, MemoryBacking::kAnonymous);
    CHECK(memory.has_value());
    return *std::move(memory);
  }

  void Start(int buffers = 32) {
    if (transport_ == nullptr) {
      auto vsock = CreateVsock(std::move(options_));
      CHECK(vsock.has_value());
      auto transport = MmioTransport::Create({.memory = memory_.get(),
                                              .io_events = nullptr,
                                              .base = 0,
                                              .line = &line_,
                                              .name = "vsock0"},
                                             *std::move(vsock));
      CHECK(transport.has_value());
      transport_ = *std::move(transport);
      driver_.emplace(*transport_);
    }
    driver_->Reset();
    ASSERT_EQ(driver_->status(), 0u);
    ASSERT_TRUE(memory_->Clear().has_value());
    rx_ = FakeDriverQueue(*memory_, 64);
    tx_ = FakeDriverQueue(*memory_, 256, GuestAddress{32 << 20});
    buffers_.assign(256, GuestAddress{});
    ASSERT_TRUE(driver_->Negotiate(kFeatureVersion1 | kVsockFeatureStream));
    driver_->SetUpQueue(kVsockRxQueue, rx_.layout());
    driver_->SetUpQueue(kVsockTxQueue, tx_.layout());
    for (int i = 0; i < buffers; ++i) OfferBuffer();
    driver_->SetStatus(kStatusDriverOk);
    ASSERT_EQ(driver_->status() & kStatusNeedsReset, 0u);
  }

  void OfferBuffer(std::uint32_t bytes = 4096) {
    GuestAddress at;
    const std::uint16_t head = DescriptorChainBuilder(rx_).AppendWritable(bytes, &at).Build();
    buffers_[head] = at;
  }
  void OfferAndKick(int count) {
    for (int i = 0; i < count; ++i) OfferBuffer();
    driver_->Notify(kVsockRxQueue);
  }

  static VsockHeader Header(VsockOp op, std::uint32_t guest_port, std::uint32_t host_port) {
    return {.source_cid = kCid,
            .target_cid = kVsockHostCid,
            .source_port = guest_port,
            .target_port = host_port,
            .op = static_cast<std::uint16_t>(op),
            .buffer_size = 1 << 18};
  }
  // Without waiting for the device to take it.
  void Offer(VsockHeader header, const std::string& payload = "") {
    while (tx_.free_descriptors() < 2) AwaitTxUsed();
    header.length = static_cast<std::uint32_t>(payload.size());
    DescriptorChainBuilder chain(tx_);
    chain.AppendReadable(std::as_bytes(std::span(&header, 1)));
    if (!payload.empty()) chain.AppendReadable(payload);
    chain.Build();
    ++offered_;
  }
  void AwaitTxUsed() {
    for (;;) {
      const int before = line_.count();
      if (tx_.TakeUsed()) return;
      CHECK(line_.WaitFor(before + 1));
    }
  }
  void Give(const VsockHeader& header, const std::string& payload = "") {
    Offer(header, payload);
    driver_->Notify(kVsockTxQueue);
  }
  void Give(VsockOp op, std::uint32_t guest_port, std::uint32_t host_port,
            const std::string& payload = "", std::uint32_t flags = 0) {
    VsockHeader header = Header(op, guest_port, host_port);
    header.flags = flags;
    Give(header, payload);
  }

  // The next packet for the guest; its buffer is offered again.
  Packet Take(bool offer_again = true) {
    for (;;) {
      const int before = line_.count();
      if (const auto used = rx_.TakeUsed()) {
        Packet packet;
        CHECK(used->length >= sizeof packet.header);
        const auto bytes = rx_.ReadGuest(buffers_[used->id], used->length);
        std::memcpy(&packet.header, bytes.data(), sizeof packet.header);
        CHECK(used->length == sizeof packet.header + packet.header.length);
        // SAFETY: bytes as characters.
        packet.payload.assign(reinterpret_cast<const char*>(bytes.data()) + sizeof packet.header,
                              packet.header.length);
        if (offer_again) OfferAndKick(1);
        return packet;
      }
      CHECK(line_.WaitFor(before + 1));
    }
  }

  // A guest's REQUEST, dialled to a socket of the test's.
  UniqueFd GuestConnects(std::uint32_t guest_port, std::uint32_t host_port) {
    Give(VsockOp::kRequest, guest_port, host_port);
    CHECK(Ready(dialer_.get(), POLLIN));
    VsockDialRequest request;
    CHECK(ReceiveDialRequest(dialer_.get(), request) == VsockDialState::kDone);
    CHECK(request.port == host_port);
    int ends[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    CHECK(SendDialReply(dialer_.get(), {request.id, 0, UniqueFd(ends[0])}) ==
          VsockDialState::kDone);
    CHECK(Take().op() == VsockOp::kResponse);
    return UniqueFd(ends[1]);
  }
  // A host's CONNECT, accepted by the guest. Sets host_port_.
  UniqueFd HostConnects(std::uint32_t guest_port) {
    UniqueFd caller = listener_.Connect();
    Write(caller.get(), "CONNECT " + std::to_string(guest_port) + "\n");
    const Packet request = Take();
    CHECK(request.op() == VsockOp::kRequest);
    host_port_ = request.header.source_port;
    Give(VsockOp::kResponse, guest_port, host_port_);
    CHECK(Read(caller.get()) == "OK " + std::to_string(host_port_) + "\n");
    return caller;
  }

  static void Write(int fd, const std::string& text) {
    CHECK(send(fd, text.data(), text.size(), MSG_NOSIGNAL) == std::ssize(text));
  }
  // What there is, waiting for some of it; empty at the end.
  static std::string Read(int fd) {
    CHECK(Ready(fd, POLLIN));
    std::string text(65536, '\0');
    const ssize_t n = recv(fd, text.data(), text.size(), 0);
    text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return text;
  }
  static bool Ended(int fd) { return Read(fd).empty(); }

  std::unique_ptr<GuestMemory> memory_ = MakeMemory();
  FakeDriverQueue rx_{*memory_, 64};
  FakeDriverQueue tx_{*memory_, 256, GuestAddress{32 << 20}};
  std::vector<GuestAddress> buffers_;
  FakeInterrupt line_;
  Listener listener_;
  UniqueFd dialer_;
  VsockSwitchboard::Options options_;
  std::unique_ptr<MmioTransport> transport_;
  std::optional<FakeMmioDriver> driver_;
  std::uint32_t host_port_ = 0;
  int offered_ = 0;
};

TEST_F(VsockTest, Config_HoldsTheCid) {
  Start();
  EXPECT_EQ(driver_->Read(mmio::kConfig), kCid);
  EXPECT_EQ(driver_->Read(mmio::kConfig + 4), 0u);
  EXPECT_EQ(driver_->Read(mmio::kConfig + 8), 0u);
}

TEST_F(VsockTest, Cid_OfTheHostOrAny_IsRefused) {
  EXPECT_FALSE(CreateVsock({.name = "v", .guest_cid = 2, .listener = {}, .dialer = {}}));
  EXPECT_FALSE(CreateVsock({.name = "v", .guest_cid = 0xffff'ffff, .listener = {}, .dialer = {}}));
}

TEST_F(VsockTest, GuestConnects_AndBytesGoBothWays) {
  Start();
  const UniqueFd host = GuestConnects(1000, 80);
  Give(VsockOp::kData, 1000, 80, "question");
  EXPECT_EQ(Read(host.get()), "question");
  Write(host.get(), "answer");
  const Packet packet = Take();
  EXPECT_EQ(packet.op(), VsockOp::kData);
  EXPECT_EQ(packet.payload, "answer");
  EXPECT_EQ(std::uint64_t{packet.header.source_cid}, kVsockHostCid);
  EXPECT_EQ(std::uint64_t{packet.header.target_cid}, kCid);
  EXPECT_EQ(std::uint32_t{packet.header.source_port}, 80u);
  EXPECT_EQ(std::uint32_t{packet.header.target_port}, 1000u);
}

TEST_F(VsockTest, HostConnects_AndBytesGoBothWays) {
  Start();
  const UniqueFd host = HostConnects(22);
  Write(host.get(), "question");
  EXPECT_EQ(Take().payload, "question");
  Give(VsockOp::kData, 22, host_port_, "answer");
  EXPECT_EQ(Read(host.get()), "answer");
}

TEST_F(VsockTest, BytesBehindTheGreeting_AreTheGuests) {
  Start();
  const UniqueFd caller = listener_.Connect();
  Write(caller.get(), "CONNECT 22\nearly");
  const std::uint32_t port = Take().header.source_port;
  Give(VsockOp::kResponse, 22, port);
  EXPECT_EQ(Take().payload, "early");
}

TEST_F(VsockTest, MegabytesEachWay_ArriveWhole) {
  Start();
  const UniqueFd host = GuestConnects(1000, 80);
  std::string sent;
  std::string got;
  for (std::uint32_t i = 0; sent.size() < 1 << 20; ++i) sent += std::to_string(i * 2654435761u);
  std::uint32_t forwarded = 0;
  std::size_t written = 0;
  while (got.size() < sent.size()) {
    if (written < sent.size())
      written += static_cast<std::size_t>(
          std::max<ssize_t>(0, send(host.get(), sent.data() + written, sent.size() - written,
                                    MSG_DONTWAIT | MSG_NOSIGNAL)));
    const Packet packet = Take();
    ASSERT_EQ(packet.op(), VsockOp::kData);
    got += packet.payload;
    forwarded += packet.header.length;
    VsockHeader update = Header(VsockOp::kCreditUpdate, 1000, 80);
    update.forwarded_count = forwarded;
    Give(update);
  }
  EXPECT_TRUE(got == sent);

  got.clear();
  std::size_t at = 0;
  std::uint32_t room = 64 << 10;
  std::uint32_t given = 0;
  while (got.size() < sent.size()) {
    const std::size_t n = std::min<std::size_t>({3000, sent.size() - at, room - given});
    if (n > 0) Give(VsockOp::kData, 1000, 80, sent.substr(at, n));
    at += n;
    given += static_cast<std::uint32_t>(n);
    if (n > 0) {
      got += Read(host.get());
    } else {
      const Packet update = Take();
      ASSERT_EQ(update.op(), VsockOp::kCreditUpdate);
      given = static_cast<std::uint32_t>(at) - update.header.forwarded_count;
      room = update.header.buffer_size;
    }
  }
  EXPECT_TRUE(got == sent);
}

TEST_F(VsockTest, PortThatNobodyServes_IsReset) {
  Start();
  Give(VsockOp::kRequest, 1000, 81);
  ASSERT_TRUE(Ready(dialer_.get(), POLLIN));
  VsockDialRequest request;
  ASSERT_EQ(ReceiveDialRequest(dialer_.get(), request), VsockDialState::kDone);
  SendDialReply(dialer_.get(), {request.id, ECONNREFUSED, UniqueFd()});
  EXPECT_EQ(Take().op(), VsockOp::kReset);
}

TEST_F(VsockTest, DialerThatIsGone_MeansReset) {
  Start();
  dialer_.Reset();
  Give(VsockOp::kRequest, 1000, 81);
  EXPECT_EQ(Take().op(), VsockOp::kReset);
  const UniqueFd host = HostConnects(22);  // the other way still works
}

TEST_F(VsockTest, DialerThatLies_IsLeft) {
  Start();
  SendDialReply(dialer_.get(), {77, 0, UniqueFd(dup(1))});
  char byte = 0;
  ASSERT_TRUE(Ready(dialer_.get(), POLLIN));
  EXPECT_LE(recv(dialer_.get(), &byte, 1, 0), 0);
}

TEST_F(VsockTest, GuestThatRefuses_EndsTheCaller) {
  Start();
  const UniqueFd caller = listener_.Connect();
  Write(caller.get(), "CONNECT 22\n");
  Give(VsockOp::kReset, 22, Take().header.source_port);
  EXPECT_TRUE(Ended(caller.get()));
}

TEST_F(VsockTest, GuestThatNeverAnswers_EndsTheCaller) {
  options_.answer_timeout_ms = 1;
  Start();
  const UniqueFd caller = listener_.Connect();
  Write(caller.get(), "CONNECT 22\n");
  EXPECT_TRUE(Ended(caller.get()));
  EXPECT_EQ(Take().op(), VsockOp::kRequest);
  EXPECT_EQ(Take().op(), VsockOp::kReset);
}

TEST_F(VsockTest, GuestThatIgnoresTheEnd_IsReset) {
  options_.reset_timeout_ms = 1;
  Start();
  UniqueFd host = GuestConnects(1000, 80);
  host.Reset();
  EXPECT_EQ(Take().op(), VsockOp::kShutdown);
  EXPECT_EQ(Take().op(), VsockOp::kReset);
}

TEST_F(VsockTest, GuestThatCloses_IsResetAndTheHostReadsTheEnd) {
  Start();
  const UniqueFd host = GuestConnects(1000, 80);
  Give(VsockOp::kData, 1000, 80, "last words");
  Give(VsockOp::kShutdown, 1000, 80, "", kVsockNoMore);
  EXPECT_EQ(Take().op(), VsockOp::kReset);
  EXPECT_EQ(Read(host.get()), "last words");
  EXPECT_TRUE(Ended(host.get()));
}

TEST_F(VsockTest, GuestThatClosesBeforeTheHostHasRead_LosesNothing) {
  Start();
  const UniqueFd host = GuestConnects(1000, 80);
  // As much as the socket and our buffer take: the last credit is used up.
  std::uint32_t sent = 0;
  std::uint32_t forwarded = 0;
  for (;;) {
    Give(VsockOp::kCreditRequest, 1000, 80);
    const Packet update = Take();
    forwarded = update.header.forwarded_count;
    const std::uint32_t room = update.header.buffer_size - (sent - forwarded);
    if (room < 4096) break;
    Give(VsockOp::kData, 1000, 80, std::string(4096, 'x'));
    sent += 4096;
  }
  EXPECT_GT(sent, forwarded);
  Give(VsockOp::kShutdown, 1000, 80, "", kVsockNoMore);
  EXPECT_EQ(Take().op(), VsockOp::kReset);
  // The port is free again, while the old stream still drains.
  const UniqueFd again = GuestConnects(1000, 80);
  std::size_t got = 0;
  for (std::string part = Read(host.get()); !part.empty(); part = Read(host.get()))
    got += part.size();
  EXPECT_EQ(got, sent);
}

TEST_F(VsockTest, DataForNoConnection_IsReset_AndResetsAreNot) {
  Start();
  Give(VsockOp::kReset, 9, 9);
  Give(VsockOp::kData, 10, 9, "x");
  const Packet packet = Take();
  EXPECT_EQ(packet.op(), VsockOp::kReset);
  EXPECT_EQ(std::uint32_t{packet.header.target_port}, 10u);
}

TEST_F(VsockTest, RequestForAConnectionThatIsThere_ResetsIt) {
  Start();
  const UniqueFd host = GuestConnects(1000, 80);
  Give(VsockOp::kRequest, 1000, 80);
  EXPECT_EQ(Take().op(), VsockOp::kReset);
  EXPECT_TRUE(Ended(host.get()));
}

TEST_F(VsockTest, PacketsOfStrangers_AreDropped) {
  Start();
  VsockHeader header = Header(VsockOp::kData, 1, 1);
  header.source_cid = 4;
  Give(header);
  header = Header(VsockOp::kData, 2, 1);
  header.target_cid = 3;
  Give(header);
  header = Header(VsockOp::kData, 3, 1);
  header.source_cid |= 1ull << 32;
  Give(header);
  Give(VsockOp::kData, 4, 1);
  EXPECT_EQ(std::uint32_t{Take().header.target_port}, 4u);
}

TEST_F(VsockTest, UnknownType_IsReset) {
  Start();
  VsockHeader header = Header(VsockOp::kRequest, 1, 1);
  header.type = 2;
  Give(header);
  EXPECT_EQ(Take().op(), VsockOp::kReset);
}

TEST_F(VsockTest, PacketCutShort_IsPassedOver) {
  Start();
  DescriptorChainBuilder(tx_).AppendReadable("short").Build();
  VsockHeader header = Header(VsockOp::kData, 1, 1);
  header.length = 100;
  DescriptorChainBuilder(tx_).AppendReadable(std::as_bytes(std::span(&header, 1))).Build();
  Give(VsockOp::kData, 2, 1);
  EXPECT_EQ(std::uint32_t{Take().header.target_port}, 2u);
}

TEST_F(VsockTest, ResetStormOfAGuestThatTakesNone_StopsItsQueue_AndGoesOn) {
  Start(0);
  // More than may wait: the rest stays in the queue until buffers come.
  constexpr int kStorm = 256 + 200;
  int sent = 0;
  while (sent < kStorm) {
    while (sent < kStorm && tx_.free_descriptors() > 1)
      Offer(Header(VsockOp::kData, static_cast<std::uint32_t>(++sent), 1));
    driver_->Notify(kVsockTxQueue);
    if (sent < kStorm) AwaitTxUsed();
  }
  OfferAndKick(32);
  for (int i = 1; i <= kStorm; ++i) {
    const Packet packet = Take();
    ASSERT_EQ(packet.op(), VsockOp::kReset);
    ASSERT_EQ(std::uint32_t{packet.header.target_port}, static_cast<std::uint32_t>(i));
  }
}

TEST_F(VsockTest, MoreConnectionsThanFit_AreReset_AndFewAreDialledAtOnce) {
  Start();
  for (std::uint32_t i = 0; i < kMaxVsockConnections; ++i) Give(VsockOp::kRequest, 5000 + i, 80);
  Give(VsockOp::kRequest, 4999, 80);
  const Packet packet = Take();
  EXPECT_EQ(packet.op(), VsockOp::kReset);
  EXPECT_EQ(std::uint32_t{packet.header.target_port}, 4999u);
  int dials = 0;
  VsockDialRequest request;
  while (ReceiveDialRequest(dialer_.get(), request) == VsockDialState::kDone) ++dials;
  EXPECT_EQ(dials, 32);
}

TEST_F(VsockTest, AnswerToADialThatTheGuestGaveUp_IsClosed) {
  Start();
  Give(VsockOp::kRequest, 1000, 80);
  ASSERT_TRUE(Ready(dialer_.get(), POLLIN));
  VsockDialRequest request;
  ReceiveDialRequest(dialer_.get(), request);
  Give(VsockOp::kReset, 1000, 80);
  const UniqueFd later = GuestConnects(1001, 80);  // the RST has been seen
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const UniqueFd far(ends[1]);
  SendDialReply(dialer_.get(), {request.id, 0, UniqueFd(ends[0])});
  EXPECT_TRUE(Ended(far.get()));
}

TEST_F(VsockTest, CallersThatSayNothing_DoNotKeepOthersOut) {
  Start();
  std::vector<UniqueFd> silent;
  for (int i = 0; i < 200; ++i) silent.push_back(listener_.Connect());
  const UniqueFd host = HostConnects(22);
  EXPECT_TRUE(Ended(silent[0].get()));
}

TEST_F(VsockTest, CallersThatSaySomethingElse_AreClosed) {
  Start();
  const UniqueFd web = listener_.Connect();
  Write(web.get(), "GET / HTTP/1.1\r\n\r\n");
  EXPECT_TRUE(Ended(web.get()));
  const UniqueFd slow = listener_.Connect();
  Write(slow.get(), "CONN");
  Write(slow.get(), "ECT 22");
  Write(slow.get(), "\n");
  EXPECT_EQ(Take().op(), VsockOp::kRequest);
}

TEST_F(VsockTest, BufferTooSmallForAPacket_ComesBackEmpty) {
  Start(0);
  DescriptorChainBuilder(rx_).AppendWritable(sizeof(VsockHeader)).Build();
  driver_->Notify(kVsockRxQueue);
  Give(VsockOp::kData, 1, 1);
  int before = line_.count();
  std::optional<UsedElement> used;
  while (!(used = rx_.TakeUsed())) {
    ASSERT_TRUE(line_.WaitFor(before + 1));
    before = line_.count();
  }
  EXPECT_EQ(used->length, 0u);
  OfferAndKick(1);
  EXPECT_EQ(Take().op(), VsockOp::kReset);
}

TEST_F(VsockTest, Reset_EndsEverything_AndStartingAgainWorks) {
  Start();
  for (int i = 0; i < 3; ++i) {
    const UniqueFd host = GuestConnects(1000, 80);
    const UniqueFd other = HostConnects(22);
    driver_->Reset();
    ASSERT_EQ(driver_->status(), 0u);
    EXPECT_TRUE(Ended(host.get()));
    EXPECT_TRUE(Ended(other.get()));
    Start();
  }
  const UniqueFd host = GuestConnects(1000, 80);
}

TEST_F(VsockTest, BrokenRing_EndsEverything) {
  Start();
  const UniqueFd host = GuestConnects(1000, 80);
  SetLogLevel(LogLevel::kError);
  tx_.Offer(256);
  driver_->Notify(kVsockTxQueue);
  EXPECT_TRUE(Ended(host.get()));
  EXPECT_NE(driver_->status() & kStatusNeedsReset, 0u);
  SetLogLevel(LogLevel::kInfo);
  Start();
  const UniqueFd again = GuestConnects(1000, 80);
}

}  // namespace
}  // namespace gemel::virtio
