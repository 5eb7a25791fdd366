#include "virtio/vsock/connection.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string>

#include "base/check.h"

namespace gemel::virtio {
namespace {

using Next = VsockConnection::Next;

// An open connection, as after a guest's REQUEST, with the host's program in the test's hands.
class VsockConnectionTest : public ::testing::Test {
 protected:
  static constexpr std::uint32_t kBuffer = 8192;

  VsockConnectionTest() {
    int ends[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
    host_.Reset(ends[0]);
    connection_.OnDialed(UniqueFd(ends[1]));
    CHECK(Make() == VsockOp::kResponse);
  }

  Next Give(VsockOp op, const std::string& payload = "", std::uint32_t flags = 0) {
    VsockHeader header = header_;
    header.op = static_cast<std::uint16_t>(op);
    header.length = static_cast<std::uint32_t>(payload.size());
    header.flags = flags;
    std::string bytes(sizeof header, '\0');
    bytes += payload;
    const iovec iov{bytes.data(), bytes.size()};
    return connection_.OnPacket(header, {&iov, 1});
  }

  // The next packet's kind; kInvalid: none.
  VsockOp Make(std::size_t room = 4096) {
    chain_.assign(sizeof(VsockHeader) + room, '\0');
    const iovec iov{chain_.data(), chain_.size()};
    made_ = {};
    if (!connection_.HasPacket() || !connection_.MakePacket(made_, {&iov, 1}))
      return VsockOp::kInvalid;
    return static_cast<VsockOp>(std::uint16_t{made_.op});
  }
  std::string Payload() const { return chain_.substr(sizeof(VsockHeader), made_.length); }

  std::string HostReads(std::size_t most = 1 << 20) {
    std::string text(most, '\0');
    const ssize_t n = read(host_.get(), text.data(), text.size());
    text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return text;
  }
  void HostWrites(const std::string& text) {
    ASSERT_EQ(write(host_.get(), text.data(), text.size()), std::ssize(text));
    ASSERT_EQ(connection_.OnHostEvents(EPOLLIN), Next::kGoOn);
  }
  // Until the socket takes no more and bytes are kept.
  void FillHost() {
    while (connection_.stream()->kept() == 0) {
      ASSERT_EQ(Give(VsockOp::kData, std::string(4096, 'x')), Next::kGoOn);
      Make();
    }
  }

  VsockHeader header_{.buffer_size = 100000};
  VsockConnection connection_{{.host_port = 5, .guest_port = 6}, header_, kBuffer};
  UniqueFd host_;
  VsockHeader made_;
  std::string chain_;
};

TEST_F(VsockConnectionTest, Data_GoesBothWays) {
  EXPECT_EQ(Give(VsockOp::kData, "to the host"), Next::kGoOn);
  EXPECT_EQ(HostReads(), "to the host");
  HostWrites("to the guest");
  EXPECT_EQ(Make(), VsockOp::kData);
  EXPECT_EQ(Payload(), "to the guest");
  EXPECT_EQ(Make(), VsockOp::kInvalid);
}

TEST_F(VsockConnectionTest, GuestWithoutRoom_GetsNothingUntilItHas) {
  header_.buffer_size = 4;
  Give(VsockOp::kCreditUpdate);
  HostWrites("abcdefgh");
  EXPECT_EQ(Make(), VsockOp::kData);
  EXPECT_EQ(Payload(), "abcd");
  EXPECT_FALSE(connection_.HasPacket());
  header_.forwarded_count = 3;
  Give(VsockOp::kCreditUpdate);
  EXPECT_EQ(Make(), VsockOp::kData);
  EXPECT_EQ(Payload(), "efg");
}

TEST_F(VsockConnectionTest, GuestThatLiesAboutItsCredit_GetsNothing) {
  header_.forwarded_count = 1;  // of nothing
  Give(VsockOp::kCreditUpdate);
  HostWrites("abc");
  EXPECT_FALSE(connection_.HasPacket());
}

TEST_F(VsockConnectionTest, MoreThanThereIsRoomFor_IsReset) {
  EXPECT_EQ(Give(VsockOp::kData, std::string(kBuffer + 1, 'x')), Next::kReset);
}

TEST_F(VsockConnectionTest, HostThatDoesNotRead_HoldsTheGuestBack) {
  FillHost();
  ASSERT_FALSE(HasFatalFailure());
  Next next = Next::kGoOn;
  for (int i = 0; i < 3 && next == Next::kGoOn; ++i)
    next = Give(VsockOp::kData, std::string(4096, 'x'));
  EXPECT_EQ(next, Next::kReset);
  EXPECT_LE(connection_.stream()->kept(), kBuffer);
}

TEST_F(VsockConnectionTest, HostThatReadsAgain_GivesCreditBack) {
  FillHost();
  ASSERT_FALSE(HasFatalFailure());
  Give(VsockOp::kData, std::string(kBuffer - connection_.stream()->kept(), 'y'));
  EXPECT_EQ(Make(), VsockOp::kInvalid);
  while (!HostReads().empty()) EXPECT_EQ(connection_.OnHostEvents(EPOLLOUT), Next::kGoOn);
  EXPECT_EQ(connection_.stream()->kept(), 0u);
  EXPECT_EQ(Make(), VsockOp::kCreditUpdate);
  EXPECT_EQ(Give(VsockOp::kData, std::string(kBuffer, 'z')), Next::kGoOn);
}

TEST_F(VsockConnectionTest, CreditRequest_IsAnswered) {
  EXPECT_EQ(Give(VsockOp::kCreditRequest), Next::kGoOn);
  EXPECT_EQ(Make(), VsockOp::kCreditUpdate);
  EXPECT_EQ(std::uint32_t{made_.buffer_size}, kBuffer);
  EXPECT_EQ(Make(), VsockOp::kInvalid);
}

TEST_F(VsockConnectionTest, HostThatEndsItsWriting_StillReads) {
  HostWrites("last");
  ASSERT_EQ(shutdown(host_.get(), SHUT_WR), 0);
  connection_.OnHostEvents(EPOLLIN | EPOLLRDHUP);
  EXPECT_EQ(Make(), VsockOp::kData);
  EXPECT_EQ(Make(), VsockOp::kShutdown);
  EXPECT_EQ(std::uint32_t{made_.flags}, kVsockNoSend);
  EXPECT_EQ(Make(), VsockOp::kInvalid);
  EXPECT_FALSE(connection_.told_all());
  EXPECT_EQ(Give(VsockOp::kData, "answer"), Next::kGoOn);
  EXPECT_EQ(HostReads(), "answer");
}

TEST_F(VsockConnectionTest, HostThatLeaves_IsTold_AfterItsLastBytes) {
  HostWrites("last");
  host_.Reset();
  connection_.OnHostEvents(EPOLLIN | EPOLLHUP | EPOLLRDHUP);
  EXPECT_EQ(Make(), VsockOp::kData);
  EXPECT_EQ(Payload(), "last");
  EXPECT_EQ(Make(), VsockOp::kShutdown);
  EXPECT_TRUE(connection_.told_all());
  EXPECT_EQ(Give(VsockOp::kData, "to nobody"), Next::kGoOn);
}

TEST_F(VsockConnectionTest, StaleHangUp_IsNotBelieved) {
  connection_.OnHostEvents(EPOLLHUP | EPOLLERR);
  EXPECT_EQ(Make(), VsockOp::kInvalid);
  EXPECT_EQ(Give(VsockOp::kData, "still there"), Next::kGoOn);
  EXPECT_EQ(HostReads(), "still there");
}

TEST_F(VsockConnectionTest, GuestThatEndsItsWriting_StillReads) {
  Give(VsockOp::kData, "last");
  EXPECT_EQ(Give(VsockOp::kShutdown, "", kVsockNoSend), Next::kGoOn);
  EXPECT_EQ(HostReads(), "last");
  char byte = 0;
  EXPECT_EQ(read(host_.get(), &byte, 1), 0);
  HostWrites("answer");
  EXPECT_EQ(Make(), VsockOp::kData);
  EXPECT_EQ(Give(VsockOp::kData, "more"), Next::kReset);
}

TEST_F(VsockConnectionTest, ShutdownsOfBothWays_FinishIt) {
  EXPECT_EQ(Give(VsockOp::kShutdown, "", kVsockNoReceive), Next::kGoOn);
  EXPECT_EQ(send(host_.get(), "x", 1, MSG_NOSIGNAL), -1);
  EXPECT_EQ(Give(VsockOp::kShutdown, "", kVsockNoSend), Next::kFinish);
}

TEST_F(VsockConnectionTest, OpsOutOfPlace_AreReset) {
  EXPECT_EQ(Give(VsockOp::kRequest), Next::kReset);
  EXPECT_EQ(Give(VsockOp::kResponse), Next::kReset);
  EXPECT_EQ(Give(VsockOp::kInvalid), Next::kReset);
  EXPECT_EQ(Give(static_cast<VsockOp>(8)), Next::kReset);
  EXPECT_EQ(Give(VsockOp::kReset), Next::kForget);
}

TEST_F(VsockConnectionTest, GiganticSegments_AreCutToTheCredit) {
  header_.buffer_size = 0xffff'ffff;
  Give(VsockOp::kCreditUpdate);
  const std::string text(150000, 'x');
  ASSERT_GT(write(host_.get(), text.data(), text.size()), std::ssize(text) / 2);
  connection_.OnHostEvents(EPOLLIN);
  EXPECT_EQ(Make(1 << 20), VsockOp::kData);
  EXPECT_LE(std::uint32_t{made_.length}, kMaxVsockPayload);
}

}  // namespace
}  // namespace gemel::virtio
