#include "vmm/control/control_channel.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <span>

#include "base/load_le.h"

namespace gemel {
namespace {

std::size_t OpenFds() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd"))
    ++count;
  return count;
}

std::string Frame(std::uint32_t magic, std::uint8_t version, std::uint8_t place, std::uint16_t zero,
                  std::uint32_t length, std::string_view payload) {
  std::array<std::byte, 12> header{};
  StoreLe<std::uint32_t>(header, 0, magic);
  StoreLe<std::uint8_t>(header, 4, version);
  StoreLe<std::uint8_t>(header, 5, place);
  StoreLe<std::uint16_t>(header, 6, zero);
  StoreLe<std::uint32_t>(header, 8, length);
  std::string frame(12, '\0');
  std::memcpy(frame.data(), header.data(), 12);
  return frame.append(payload);
}
constexpr std::uint32_t kMagic = 0x434c4d47;

// A channel and the naked other end of its socket.
class RawPeer : public testing::Test {
 protected:
  RawPeer() {
    int ends[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    peer_.Reset(ends[0]);
    auto channel = ControlChannel::Adopt(UniqueFd(ends[1]));
    EXPECT_TRUE(channel);
    channel_.emplace(std::move(*channel));
  }
  void SendRaw(const std::string& bytes, std::span<const int> fds = {}) {
    iovec part{const_cast<char*>(bytes.data()), bytes.size()};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    alignas(cmsghdr) std::array<char, CMSG_SPACE(253 * sizeof(int))> control{};
    if (!fds.empty()) {
      header.msg_control = control.data();
      header.msg_controllen = CMSG_SPACE(fds.size_bytes());
      cmsghdr* c = CMSG_FIRSTHDR(&header);
      c->cmsg_level = SOL_SOCKET;
      c->cmsg_type = SCM_RIGHTS;
      c->cmsg_len = CMSG_LEN(fds.size_bytes());
      std::memcpy(CMSG_DATA(c), fds.data(), fds.size_bytes());
    }
    ASSERT_EQ(sendmsg(peer_.get(), &header, 0), static_cast<ssize_t>(bytes.size()));
  }
  // A memfd with `content`, passed beside a header that announces `length` bytes.
  void SendMemfd(std::string_view content, std::uint32_t length, int seals) {
    UniqueFd memfd(memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    ASSERT_EQ(write(memfd.get(), content.data(), content.size()),
              static_cast<ssize_t>(content.size()));
    ASSERT_EQ(fcntl(memfd.get(), F_ADD_SEALS, seals), 0);
    const int fd = memfd.get();
    SendRaw(Frame(kMagic, 1, 1, 0, length, ""), std::span(&fd, 1));
  }
  void ExpectRefused() {
    auto received = channel_->Receive();
    ASSERT_FALSE(received);
    EXPECT_EQ(received.error().code, Code::kInvalidArgument) << received.error().message;
  }

  UniqueFd peer_;
  std::optional<ControlChannel> channel_;
};

constexpr int kAllSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

std::pair<ControlChannel, ControlChannel> Pair() {
  auto pair = ControlChannel::CreatePair();
  EXPECT_TRUE(pair);
  return std::move(*pair);
}

TEST(ControlChannel, MessageArrivesWhole) {
  auto [a, b] = Pair();
  ASSERT_TRUE(a.Send({"hello", {}}));
  auto received = b.Receive();
  ASSERT_TRUE(received);
  EXPECT_EQ(received->state, Received::State::kMessage);
  EXPECT_EQ(received->message.payload, "hello");
}

TEST(ControlChannel, NothingSent_Nothing) {
  auto [a, b] = Pair();
  auto received = b.Receive();
  ASSERT_TRUE(received);
  EXPECT_EQ(received->state, Received::State::kNothing);
}

TEST(ControlChannel, EmptyPayload_IsAMessage) {
  auto [a, b] = Pair();
  ASSERT_TRUE(a.Send({}));
  EXPECT_EQ(b.Receive()->state, Received::State::kMessage);
}

TEST(ControlChannel, PeerClosed_ClosedAfterItsMessages) {
  auto pair = Pair();
  ASSERT_TRUE(pair.first.Send({"last", {}}));
  {
    ControlChannel gone = std::move(pair.first);
  }
  EXPECT_EQ(pair.second.Receive()->message.payload, "last");
  EXPECT_EQ(pair.second.Receive()->state, Received::State::kClosed);
}

TEST(ControlChannel, PeerClosedWithUnreadMessages_Closed) {
  auto pair = Pair();
  ASSERT_TRUE(pair.second.Send({"never read", {}}));
  {
    ControlChannel gone = std::move(pair.first);
  }
  EXPECT_EQ(pair.second.Receive()->state, Received::State::kClosed);
}

TEST(ControlChannel, SendToClosedPeer_Aborted) {
  auto pair = Pair();
  {
    ControlChannel gone = std::move(pair.first);
  }
  auto sent = pair.second.Send({"x", {}});
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().code, Code::kAborted);
}

TEST(ControlChannel, PeerThatDoesNotRead_Unavailable) {
  auto [a, b] = Pair();
  Status sent;
  for (int i = 0; i < 1000 && sent; ++i) sent = a.Send({std::string(32000, 'x'), {}});
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().code, Code::kUnavailable);
  auto late = a.Send({std::string(32000, 'x'), {}}, 10);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Code::kUnavailable);
}

TEST(ControlChannel, LargestInlinePayload_Arrives) {
  auto [a, b] = Pair();
  const std::string payload(kMaxDatagramBytes - 12, 'i');
  ASSERT_TRUE(a.Send({payload, {}}));
  EXPECT_EQ(b.Receive()->message.payload, payload);
}

TEST(ControlChannel, LongPayloadWithFds_TravelsInMemfd) {
  auto [a, b] = Pair();
  ControlMessage message{std::string(1 << 20, 'm'), {}};
  message.fds.emplace_back(open("/dev/null", O_RDWR | O_CLOEXEC));
  ASSERT_TRUE(a.Send(message));
  auto received = b.Receive();
  ASSERT_TRUE(received);
  EXPECT_EQ(received->message.payload, message.payload);
  EXPECT_EQ(received->message.fds.size(), 1u);
}

TEST(ControlChannel, PayloadBeyondLimit_Refused) {
  auto [a, b] = Pair();
  auto sent = a.Send({std::string(kMaxPayloadBytes + 1, 'm'), {}});
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().code, Code::kInvalidArgument);
}

TEST(ControlChannel, MostFds_ArriveInOrderAndCloseOnExec) {
  auto [a, b] = Pair();
  ControlMessage message{"fds", {}};
  for (std::size_t i = 0; i < kMaxMessageFds; ++i) {
    message.fds.emplace_back(memfd_create("test", MFD_CLOEXEC));
    ASSERT_EQ(ftruncate(message.fds.back().get(), static_cast<off_t>(i)), 0);
  }
  ASSERT_TRUE(a.Send(message));
  auto received = b.Receive();
  ASSERT_TRUE(received);
  ASSERT_EQ(received->message.fds.size(), kMaxMessageFds);
  for (std::size_t i = 0; i < kMaxMessageFds; ++i) {
    struct stat info{};
    ASSERT_EQ(fstat(received->message.fds[i].get(), &info), 0);
    EXPECT_EQ(info.st_size, static_cast<off_t>(i));
    EXPECT_EQ(fcntl(received->message.fds[i].get(), F_GETFD), FD_CLOEXEC);
  }
}

TEST(ControlChannel, TooManyFds_NotSent) {
  auto [a, b] = Pair();
  ControlMessage message{"fds", {}};
  for (std::size_t i = 0; i <= kMaxMessageFds; ++i)
    message.fds.emplace_back(open("/dev/null", O_RDWR | O_CLOEXEC));
  EXPECT_FALSE(a.Send(message));
}

TEST(ControlChannel, AdoptOfStreamSocket_Refused) {
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  UniqueFd other(ends[0]);
  EXPECT_FALSE(ControlChannel::Adopt(UniqueFd(ends[1])));
  EXPECT_FALSE(ControlChannel::Adopt(UniqueFd(open("/dev/null", O_RDONLY | O_CLOEXEC))));
}

TEST_F(RawPeer, ShortDatagram_Refused) {
  SendRaw("GMLC");
  ExpectRefused();
}
TEST_F(RawPeer, WrongMagic_Refused) {
  SendRaw(Frame(kMagic + 1, 1, 0, 0, 0, ""));
  ExpectRefused();
}
TEST_F(RawPeer, WrongVersion_Refused) {
  SendRaw(Frame(kMagic, 2, 0, 0, 0, ""));
  ExpectRefused();
}
TEST_F(RawPeer, UnknownPlace_Refused) {
  SendRaw(Frame(kMagic, 1, 2, 0, 0, ""));
  ExpectRefused();
}
TEST_F(RawPeer, ReservedBitsSet_Refused) {
  SendRaw(Frame(kMagic, 1, 0, 1, 0, ""));
  ExpectRefused();
}
TEST_F(RawPeer, LengthThatLies_Refused) {
  SendRaw(Frame(kMagic, 1, 0, 0, 4, "abc"));
  ExpectRefused();
  SendRaw(Frame(kMagic, 1, 0, 0, 0xffffffff, "abc"));
  ExpectRefused();
}
TEST_F(RawPeer, DatagramBeyondLimit_RefusedAndItsFdsClosed) {
  const int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  UniqueFd owner(fd);
  SendRaw(Frame(kMagic, 1, 0, 0, 70000, std::string(70000, 'x')), std::span(&fd, 1));
  const std::size_t before = OpenFds();
  ExpectRefused();
  EXPECT_EQ(OpenFds(), before);
}
TEST_F(RawPeer, RefusedMessage_ItsFdsClosed) {
  const int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  UniqueFd owner(fd);
  SendRaw(Frame(kMagic + 1, 1, 0, 0, 0, ""), std::span(&fd, 1));
  const std::size_t before = OpenFds();
  ExpectRefused();
  EXPECT_EQ(OpenFds(), before);
}
TEST_F(RawPeer, FdsBeyondOwnLimit_Refused) {
  std::vector<int> fds(20, STDERR_FILENO);
  SendRaw(Frame(kMagic, 1, 0, 0, 0, ""), fds);
  rlimit old{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &old), 0);
  const std::size_t before = OpenFds();
  rlimit low = old;
  low.rlim_cur = before + 4;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
  auto received = channel_->Receive();
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &old), 0);
  EXPECT_FALSE(received);
  EXPECT_EQ(OpenFds(), before);
}
TEST_F(RawPeer, MostDescriptorsInline_Refused) {
  std::vector<int> fds(253, STDERR_FILENO);
  SendRaw(Frame(kMagic, 1, 0, 0, 0, ""), fds);
  ExpectRefused();
}
TEST_F(RawPeer, SealedMemfd_Accepted) {
  SendMemfd("content", 7, kAllSeals);
  EXPECT_EQ(channel_->Receive()->message.payload, "content");
}
TEST_F(RawPeer, UnsealedMemfd_Refused) {
  SendMemfd("content", 7, 0);
  ExpectRefused();
}
TEST_F(RawPeer, HalfSealedMemfd_Refused) {
  SendMemfd("content", 7, F_SEAL_SHRINK | F_SEAL_GROW);
  ExpectRefused();
}
TEST_F(RawPeer, MemfdShorterThanItSays_Refused) {
  SendMemfd("content", 8, kAllSeals);
  ExpectRefused();
}
TEST_F(RawPeer, MemfdBeyondLimit_Refused) {
  SendMemfd("content", kMaxPayloadBytes + 1, kAllSeals);
  ExpectRefused();
}
TEST_F(RawPeer, MemfdAnnouncedButNotThere_Refused) {
  SendRaw(Frame(kMagic, 1, 1, 0, 7, ""));
  ExpectRefused();
}
TEST_F(RawPeer, NoMemfdButAnotherFile_Refused) {
  const int fd = STDERR_FILENO;
  SendRaw(Frame(kMagic, 1, 1, 0, 7, ""), std::span(&fd, 1));
  ExpectRefused();
}

}  // namespace
}  // namespace gemel
