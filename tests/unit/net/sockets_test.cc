#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <string>

#include "base/check.h"
#include "net/adopt.h"
#include "net/frame_header.h"
#include "net/host_interface.h"

namespace gemel::net {
namespace {

struct Pair {
  UniqueFd ours, theirs;
};
Pair MakePair(int type) {
  int fds[2];
  CHECK(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) == 0);
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

// One frame of one piece.
class Outgoing {
 public:
  explicit Outgoing(std::string text) : text_(std::move(text)) {
    pieces_ = {iovec{&header_, sizeof header_}, iovec{text_.data(), text_.size()}};
  }
  NetFrame frame() const { return {pieces_}; }

 private:
  FrameHeader header_{0xff, 0xff, 0, 0, 0, 0, 0};
  std::string text_;
  std::array<iovec, 2> pieces_;
};

class Incoming {
 public:
  std::expected<std::size_t, NetError> From(NetBackend& backend) {
    std::memset(&header_, 0xff, sizeof header_);
    const std::array<iovec, 3> pieces = {iovec{&header_, sizeof header_}, iovec{bytes_.data(), 2},
                                         iovec{bytes_.data() + 2, bytes_.size() - 2}};
    return backend.Receive(pieces);
  }
  std::string text(std::size_t n) const { return {bytes_.data(), n}; }
  bool header_is_zero() const {
    const FrameHeader zero{};
    return std::memcmp(&header_, &zero, sizeof zero) == 0;
  }

 private:
  FrameHeader header_{};
  std::array<char, 100000> bytes_{};
};

std::unique_ptr<NetBackend> Adopt(UniqueFd fd) {
  auto backend = AdoptBackend(std::move(fd));
  CHECK(backend.has_value());
  return *std::move(backend);
}

std::string Read(const UniqueFd& fd) {
  char buffer[200000];
  const ssize_t n = recv(fd.get(), buffer, sizeof buffer, MSG_DONTWAIT);
  return n < 0 ? "nothing" : std::string(buffer, static_cast<std::size_t>(n));
}
void Write(const UniqueFd& fd, std::string_view text) {
  CHECK(send(fd.get(), text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
}

TEST(PacketSocket, FramesGoBothWaysWithoutHeaders) {
  Pair pair = MakePair(SOCK_SEQPACKET);
  const auto backend = Adopt(std::move(pair.ours));
  const Outgoing first("first"), second("2nd");
  const NetFrame frames[] = {first.frame(), second.frame()};
  std::size_t failed = 0;
  EXPECT_EQ(backend->Transmit(frames, failed), 2u);
  EXPECT_EQ(Read(pair.theirs), "first");
  EXPECT_EQ(Read(pair.theirs), "2nd");
  Incoming in;
  EXPECT_EQ(in.From(*backend).error(), NetError::kWouldBlock);
  Write(pair.theirs, "back");
  EXPECT_EQ(in.From(*backend), 4u);
  EXPECT_EQ(in.text(4), "back");
  EXPECT_TRUE(in.header_is_zero());
}
TEST(PacketSocket, FullSocket_TakesNoMoreAndLosesNothing) {
  Pair pair = MakePair(SOCK_SEQPACKET);
  const auto backend = Adopt(std::move(pair.ours));
  const Outgoing frame(std::string(30000, 'x'));
  const std::vector<NetFrame> frames(kMaxBatch, frame.frame());
  std::size_t failed = 0;
  const std::size_t done = backend->Transmit(frames, failed);
  EXPECT_GT(done, 0u);
  EXPECT_LT(done, frames.size());
  EXPECT_EQ(failed, 0u);
  EXPECT_EQ(Read(pair.theirs).size(), 30000u);
}
TEST(PacketSocket, OtherEndCloses_IsOver) {
  Pair pair = MakePair(SOCK_SEQPACKET);
  const auto backend = Adopt(std::move(pair.ours));
  pair.theirs.Reset();
  Incoming in;
  EXPECT_EQ(in.From(*backend).error(), NetError::kClosed);
  EXPECT_FALSE(backend->connected());
  const Outgoing frame("lost");
  const NetFrame frames[] = {frame.frame()};
  std::size_t failed = 0;
  EXPECT_EQ(backend->Transmit(frames, failed), 1u);
  EXPECT_EQ(failed, 1u);
}

TEST(StreamSocket, FramesGoBothWaysBehindTheirLengths) {
  Pair pair = MakePair(SOCK_STREAM);
  const auto backend = Adopt(std::move(pair.ours));
  const Outgoing frame("frame");
  const NetFrame frames[] = {frame.frame()};
  std::size_t failed = 0;
  EXPECT_EQ(backend->Transmit(frames, failed), 1u);
  EXPECT_EQ(Read(pair.theirs), std::string("\0\0\0\5frame", 9));
  Write(pair.theirs, std::string("\0\0\0\3one\0\0\0\5tw", 13));
  Incoming in;
  EXPECT_EQ(in.From(*backend), 3u);
  EXPECT_EQ(in.text(3), "one");
  EXPECT_TRUE(in.header_is_zero());
  EXPECT_EQ(in.From(*backend).error(), NetError::kWouldBlock);
  Write(pair.theirs, "o!!");
  EXPECT_EQ(in.From(*backend), 5u);
  EXPECT_EQ(in.text(5), "two!!");
}
TEST(StreamSocket, FrameThatIsCutByAFullSocket_IsFinishedLater) {
  Pair pair = MakePair(SOCK_STREAM);
  const auto backend = Adopt(std::move(pair.ours));
  const Outgoing frame(std::string(60000, 'x'));
  const NetFrame frames[] = {frame.frame()};
  std::size_t failed = 0;
  std::size_t sent = 0;
  while (!backend->unsent() && backend->Transmit(frames, failed) == 1) ++sent;
  std::size_t received = 0;
  for (std::string got = Read(pair.theirs); got != "nothing"; got = Read(pair.theirs)) {
    received += got.size();
    static_cast<void>(backend->Transmit({}, failed));
  }
  EXPECT_FALSE(backend->unsent());
  EXPECT_EQ(received, sent * 60004);
  EXPECT_EQ(failed, 0u);
}
TEST(StreamSocket, LengthThatCannotBe_HangsUp) {
  Pair pair = MakePair(SOCK_STREAM);
  const auto backend = Adopt(std::move(pair.ours));
  Write(pair.theirs, std::string("\0\2\0\0abc", 7));
  Incoming in;
  EXPECT_EQ(in.From(*backend).error(), NetError::kClosed);
  EXPECT_FALSE(backend->connected());
}

class SocketPath : public ::testing::Test {
 protected:
  SocketPath() { CHECK(mkdtemp(folder_.data()) != nullptr); }
  ~SocketPath() override {
    unlink(path().c_str());
    rmdir(folder_.data());
  }
  std::string path() const { return std::string(folder_.data()) + "/s"; }
  std::array<char, 32> folder_{"/tmp/gemel-net-XXXXXX"};
};

TEST_F(SocketPath, FirstListensSecondConnects_AndAnotherComesLater) {
  bool listening = false;
  auto first = OpenSocketPath(path(), &listening);
  ASSERT_TRUE(first);
  EXPECT_TRUE(listening);
  const auto server = Adopt(*std::move(first));
  EXPECT_FALSE(server->connected());
  const Outgoing frame("hello");
  const NetFrame frames[] = {frame.frame()};
  std::size_t failed = 0;
  EXPECT_EQ(server->Transmit(frames, failed), 1u);  // to nobody
  EXPECT_EQ(failed, 1u);
  for (int round = 0; round < 2; ++round) {
    auto second = OpenSocketPath(path(), &listening);
    ASSERT_TRUE(second);
    EXPECT_FALSE(listening);
    const auto client = Adopt(*std::move(second));
    Incoming in;
    do {  // the first event of the second round is that the first client has left
      pollfd ready{server->fd(), POLLIN, 0};
      ASSERT_EQ(poll(&ready, 1, 10000), 1);
      EXPECT_EQ(in.From(*server).error(), NetError::kWouldBlock);
    } while (!server->connected());
    EXPECT_EQ(client->Transmit(frames, failed), 1u);
    EXPECT_EQ(in.From(*server), 5u);
    EXPECT_EQ(server->Transmit(frames, failed), 1u);
    EXPECT_EQ(in.From(*client), 5u);
  }
  Incoming in;
  EXPECT_EQ(in.From(*server).error(), NetError::kWouldBlock);
  EXPECT_FALSE(server->connected());
}
TEST_F(SocketPath, SocketThatNobodyListensOn_IsReplaced) {
  bool listening = false;
  ASSERT_TRUE(OpenSocketPath(path(), &listening));  // closed at once
  EXPECT_TRUE(OpenSocketPath(path(), &listening));
  EXPECT_TRUE(listening);
}
TEST_F(SocketPath, FileThere_IsRefused) {
  close(open(path().c_str(), O_CREAT | O_WRONLY, 0600));
  bool listening = false;
  EXPECT_FALSE(OpenSocketPath(path(), &listening));
}

TEST(AdoptBackend, OtherDescriptors_AreRefused) {
  EXPECT_FALSE(AdoptBackend(UniqueFd(open("/dev/null", O_RDWR | O_CLOEXEC))));
  EXPECT_FALSE(AdoptBackend(UniqueFd(open("/", O_RDONLY | O_CLOEXEC))));
  EXPECT_FALSE(AdoptBackend(UniqueFd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0))));
}

}  // namespace
}  // namespace gemel::net
