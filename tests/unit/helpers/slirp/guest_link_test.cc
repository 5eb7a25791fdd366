#include "helpers/slirp/guest_link.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <optional>
#include <string>
#include <string_view>

namespace gemel::usernet {
namespace {

std::span<const std::byte> Bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

class GuestLinkTest : public testing::Test {
 protected:
  GuestLinkTest() {
    int ends[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    link_.emplace(UniqueFd(ends[0]));
    vm_.Reset(ends[1]);
  }

  std::string ReadAsVm() const {
    std::string frame(2048, '\0');
    const ssize_t n = recv(vm_.get(), frame.data(), frame.size(), MSG_DONTWAIT);
    frame.resize(n < 0 ? 0 : static_cast<std::size_t>(n));
    return frame;
  }
  void WriteAsVm(std::size_t size) const {
    const std::string frame(size, 'f');
    ASSERT_EQ(send(vm_.get(), frame.data(), frame.size(), 0), static_cast<ssize_t>(size));
  }
  // Frames of 1 KiB, each beginning with its number, until `done`.
  template <class Done>
  int SendUntil(Done done) {
    int sent = 0;
    while (!done() && sent < 100'000) {
      std::string frame = std::to_string(sent++);
      frame.resize(1024, '.');
      link_->Send(Bytes(frame));
    }
    return sent;
  }

  std::optional<GuestLink> link_;
  UniqueFd vm_;
};

TEST_F(GuestLinkTest, FrameOfTheVm_IsReceivedOnce) {
  WriteAsVm(60);
  std::span<const std::byte> frame;
  EXPECT_EQ(link_->Receive(frame), GuestLink::Received::kFrame);
  EXPECT_EQ(frame.size(), 60u);
  EXPECT_EQ(link_->Receive(frame), GuestLink::Received::kNothing);
}

TEST_F(GuestLinkTest, LargestFrame_IsReceivedAndALargerOneIsNot) {
  WriteAsVm(kMaxFrameBytes);
  WriteAsVm(kMaxFrameBytes + 1);
  std::span<const std::byte> frame;
  EXPECT_EQ(link_->Receive(frame), GuestLink::Received::kFrame);
  EXPECT_EQ(frame.size(), kMaxFrameBytes);
  EXPECT_EQ(link_->Receive(frame), GuestLink::Received::kTooLarge);
}

TEST_F(GuestLinkTest, EndOfTheVm_IsTold) {
  vm_.Reset();
  std::span<const std::byte> frame;
  EXPECT_EQ(link_->Receive(frame), GuestLink::Received::kClosed);
  link_->Send(Bytes("to nobody"));
  EXPECT_FALSE(link_->waiting());
  EXPECT_EQ(link_->dropped(), 1u);
}

TEST_F(GuestLinkTest, FullSocket_KeepsFramesInOrder) {
  const int sent = SendUntil([this] { return link_->waiting(); });
  for (int i = 0; i < sent; ++i) {
    EXPECT_TRUE(ReadAsVm().starts_with(std::to_string(i) + '.'));
    link_->Flush();
  }
  EXPECT_FALSE(link_->waiting());
  EXPECT_EQ(link_->dropped(), 0u);
}

TEST_F(GuestLinkTest, GuestThatReadsNothing_LosesFramesAndNoMoreThanABoundWaits) {
  const int sent = SendUntil([this] { return link_->dropped() > 0; });
  EXPECT_TRUE(link_->congested());
  EXPECT_LT(sent, 4096);  // 1 MiB, and what the socket holds
}

}  // namespace
}  // namespace gemel::usernet
