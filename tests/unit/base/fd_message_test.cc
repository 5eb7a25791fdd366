#include "base/fd_message.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>

namespace gemel {
namespace {

class FdMessageTest : public ::testing::Test {
 protected:
  FdMessageTest() {
    std::array<int, 2> ends{};
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()), 0);
    ours_.Reset(ends[0]);
    theirs_.Reset(ends[1]);
  }

  UniqueFd ours_, theirs_;
  std::array<std::byte, 4> sent_{std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}};
  std::array<std::byte, 4> received_{};
  UniqueFd fd_;
};

TEST_F(FdMessageTest, Descriptor_ComesAsACopyOfTheSameFile) {
  ASSERT_EQ(SendFdMessage(ours_.get(), sent_, ours_.get()), FdMessageState::kDone);
  ASSERT_EQ(ReceiveFdMessage(theirs_.get(), received_, &fd_), FdMessageState::kDone);
  struct stat one{}, other{};
  ASSERT_EQ(fstat(ours_.get(), &one), 0);
  ASSERT_EQ(fstat(fd_.get(), &other), 0);
  EXPECT_NE(fd_.get(), ours_.get());
  EXPECT_EQ(one.st_ino, other.st_ino);
  EXPECT_EQ(received_, sent_);
}

TEST_F(FdMessageTest, NoMessageYet_IsAgain) {
  EXPECT_EQ(ReceiveFdMessage(theirs_.get(), received_, &fd_), FdMessageState::kAgain);
}

TEST_F(FdMessageTest, OtherEndClosed_IsGone) {
  ours_.Reset();
  EXPECT_EQ(ReceiveFdMessage(theirs_.get(), received_, &fd_), FdMessageState::kGone);
  EXPECT_EQ(SendFdMessage(theirs_.get(), sent_, -1), FdMessageState::kGone);
}

TEST_F(FdMessageTest, MessageOfAnotherSize_IsGone) {
  std::array<std::byte, 5> longer{};
  ASSERT_EQ(SendFdMessage(ours_.get(), longer, -1), FdMessageState::kDone);
  EXPECT_EQ(ReceiveFdMessage(theirs_.get(), received_, nullptr), FdMessageState::kGone);
  ASSERT_EQ(SendFdMessage(ours_.get(), std::span(sent_).first(1), -1), FdMessageState::kDone);
  EXPECT_EQ(ReceiveFdMessage(theirs_.get(), received_, nullptr), FdMessageState::kGone);
}

}  // namespace
}  // namespace gemel
