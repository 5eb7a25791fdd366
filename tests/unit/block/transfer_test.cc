#include "block/transfer.h"

#include <gtest/gtest.h>
#include <linux/falloc.h>

#include <array>
#include <cerrno>
#include <vector>

namespace gemel::block {
namespace {

using Op = BlockRequest::Op;
constexpr int kPunch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
constexpr int kZero = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;

class TransferTest : public testing::Test {
 protected:
  RawFile file_;
  Transfer transfer_;
  std::array<std::byte, 4096> data_{};
  std::array<iovec, 2> iov_ = {{{data_.data(), 1000}, {data_.data() + 1000, 1048}}};
};

TEST_F(TransferTest, WholeRead_IsOneCall) {
  ASSERT_EQ(transfer_.Begin(file_, {.op = Op::kRead, .offset = 512, .iov = iov_}), std::nullopt);
  const IoCall call = transfer_.Next();
  EXPECT_EQ(call.kind, IoCall::Kind::kRead);
  EXPECT_EQ(call.offset, 512u);
  EXPECT_EQ(call.iov.size(), 2u);
  EXPECT_EQ(transfer_.Advance(2048), 2048);
}

TEST_F(TransferTest, NoBytes_IsDoneAtOnce) {
  EXPECT_EQ(transfer_.Begin(file_, {.op = Op::kWrite}), 0);
}

TEST_F(TransferTest, ShortWrite_GoesOnInsideASegment) {
  ASSERT_EQ(transfer_.Begin(file_, {.op = Op::kWrite, .offset = 512, .iov = iov_}), std::nullopt);
  transfer_.Next();
  ASSERT_EQ(transfer_.Advance(1010), std::nullopt);
  const IoCall call = transfer_.Next();
  EXPECT_EQ(call.offset, 1522u);
  ASSERT_EQ(call.iov.size(), 1u);
  EXPECT_EQ(call.iov[0].iov_base, data_.data() + 1010);
  EXPECT_EQ(call.iov[0].iov_len, 1038u);
  EXPECT_EQ(transfer_.Advance(1038), 2048);
}

TEST_F(TransferTest, WriteOfNothing_IsAnErrorNotALoop) {
  ASSERT_EQ(transfer_.Begin(file_, {.op = Op::kWrite, .iov = iov_}), std::nullopt);
  transfer_.Next();
  EXPECT_EQ(transfer_.Advance(0), -EIO);
}

TEST_F(TransferTest, ReadAtEndOfFile_FillsWithZeros) {
  data_.fill(std::byte{0xee});
  ASSERT_EQ(transfer_.Begin(file_, {.op = Op::kRead, .iov = iov_}), std::nullopt);
  transfer_.Next();
  ASSERT_EQ(transfer_.Advance(1100), std::nullopt);
  transfer_.Next();
  EXPECT_EQ(transfer_.Advance(0), 2048);
  EXPECT_EQ(data_[1099], std::byte{0xee});
  EXPECT_EQ(data_[1100], std::byte{0});
  EXPECT_EQ(data_[2047], std::byte{0});
  EXPECT_EQ(data_[2048], std::byte{0xee});
}

TEST_F(TransferTest, Interrupted_IsTriedAgain) {
  ASSERT_EQ(transfer_.Begin(file_, {.op = Op::kRead, .iov = iov_}), std::nullopt);
  transfer_.Next();
  EXPECT_EQ(transfer_.Advance(-EINTR), std::nullopt);
  EXPECT_FALSE(transfer_.must_block());
  EXPECT_EQ(transfer_.Advance(-EAGAIN), std::nullopt);
  EXPECT_TRUE(transfer_.must_block());
  EXPECT_EQ(transfer_.Advance(2048), 2048);
}

TEST_F(TransferTest, AgainForEver_Fails) {
  ASSERT_EQ(transfer_.Begin(file_, {.op = Op::kRead, .iov = iov_}), std::nullopt);
  std::optional<std::int64_t> result;
  int calls = 0;
  while (!result && calls++ < 10'000) result = transfer_.Advance(-EAGAIN);
  EXPECT_EQ(result, -EAGAIN);
}

TEST_F(TransferTest, ReadError_IsPassedOn) {
  ASSERT_EQ(transfer_.Begin(file_, {.op = Op::kRead, .iov = iov_}), std::nullopt);
  transfer_.Next();
  EXPECT_EQ(transfer_.Advance(-EIO), -EIO);
}

TEST_F(TransferTest, DurableWrite_IsFollowedByASync) {
  ASSERT_EQ(transfer_.Begin(file_, {.op = Op::kWrite, .durable = true, .iov = iov_}), std::nullopt);
  transfer_.Next();
  ASSERT_EQ(transfer_.Advance(2048), std::nullopt);
  EXPECT_EQ(transfer_.Next().kind, IoCall::Kind::kSync);
  EXPECT_EQ(transfer_.Advance(0), 2048);
}

TEST_F(TransferTest, DurableWriteWhoseSyncFails_Fails) {
  ASSERT_EQ(transfer_.Begin(file_, {.op = Op::kWrite, .durable = true, .iov = iov_}), std::nullopt);
  transfer_.Next();
  ASSERT_EQ(transfer_.Advance(2048), std::nullopt);
  EXPECT_EQ(transfer_.Advance(-EIO), -EIO);
}

// The page cache forgets pages that it could not write: a second fdatasync would lie.
TEST_F(TransferTest, FlushAfterAFailedFlush_FailsToo) {
  ASSERT_EQ(transfer_.Begin(file_, {.op = Op::kFlush}), std::nullopt);
  ASSERT_EQ(transfer_.Advance(-ENOSPC), -ENOSPC);
  EXPECT_EQ(transfer_.Begin(file_, {.op = Op::kFlush}), -ENOSPC);
}

TEST_F(TransferTest, FlushAfterAFailedFlushOfADirectFile_IsTriedAgain) {
  file_.direct = true;
  ASSERT_EQ(transfer_.Begin(file_, {.op = Op::kFlush}), std::nullopt);
  ASSERT_EQ(transfer_.Advance(-EIO), -EIO);
  EXPECT_EQ(transfer_.Begin(file_, {.op = Op::kFlush}), std::nullopt);
}

TEST_F(TransferTest, DiscardUnsupported_IsDoneAndNotTriedAgain) {
  const BlockRequest discard{.op = Op::kDiscard, .offset = 512, .length = 1024};
  ASSERT_EQ(transfer_.Begin(file_, discard), std::nullopt);
  const IoCall call = transfer_.Next();
  EXPECT_EQ(call.mode, kPunch);
  EXPECT_EQ(call.length, 1024u);
  EXPECT_EQ(transfer_.Advance(-EOPNOTSUPP), 0);
  EXPECT_EQ(transfer_.Begin(file_, discard), 0);
}

TEST_F(TransferTest, WriteZeroesWithNothingSupported_WritesThem) {
  ASSERT_EQ(transfer_.Begin(file_, {.op = Op::kWriteZeroes, .length = 3 << 20, .may_unmap = true}),
            std::nullopt);
  EXPECT_EQ(transfer_.Next().mode, kPunch);
  ASSERT_EQ(transfer_.Advance(-EOPNOTSUPP), std::nullopt);
  EXPECT_EQ(transfer_.Next().mode, kZero);
  ASSERT_EQ(transfer_.Advance(-EOPNOTSUPP), std::nullopt);
  EXPECT_EQ(transfer_.Next().kind, IoCall::Kind::kWrite);
  ASSERT_EQ(transfer_.Advance(1 << 20), std::nullopt);
  EXPECT_EQ(transfer_.Next().offset, 1u << 20);
  ASSERT_EQ(transfer_.Advance(1000), std::nullopt);
  EXPECT_EQ(transfer_.Next().offset, (1u << 20) + 1000);
  ASSERT_EQ(transfer_.Advance(1 << 20), std::nullopt);
  const IoCall last = transfer_.Next();
  std::size_t length = 0;
  for (const iovec& segment : last.iov) length += segment.iov_len;
  EXPECT_EQ(length, (1u << 20) - 1000);
  EXPECT_EQ(transfer_.Advance(static_cast<std::int64_t>(length)), 0);
}

TEST_F(TransferTest, WriteZeroesThatMayNotUnmap_NeverPunches) {
  file_.can_zero_range = false;
  ASSERT_EQ(transfer_.Begin(file_, {.op = Op::kWriteZeroes, .length = 4096}), std::nullopt);
  EXPECT_EQ(transfer_.Next().kind, IoCall::Kind::kWrite);
}

class DirectTransferTest : public TransferTest {
 protected:
  void SetUp() override {
    file_.direct = true;
    file_.memory_alignment = 512;
    file_.length_alignment = 512;
  }
  std::array<std::byte, 1024> bounce_{};
};

TEST_F(DirectTransferTest, AlignedSegments_NeedNoBounce) {
  alignas(512) std::array<std::byte, 1024> aligned;
  const iovec iov{aligned.data(), aligned.size()};
  ASSERT_EQ(transfer_.Begin(file_, {.op = Op::kRead, .iov = {&iov, 1}}), std::nullopt);
  EXPECT_FALSE(transfer_.needs_bounce());
}

TEST_F(DirectTransferTest, MisalignedWrite_GoesThroughTheBounceInPieces) {
  for (std::size_t i = 0; i < data_.size(); ++i) data_[i] = static_cast<std::byte>(i / 512 + 1);
  ASSERT_EQ(transfer_.Begin(file_, {.op = Op::kWrite, .offset = 512, .iov = iov_}), std::nullopt);
  ASSERT_TRUE(transfer_.needs_bounce());
  transfer_.LendBounce(bounce_);
  EXPECT_EQ(transfer_.Next().iov[0].iov_base, bounce_.data());
  EXPECT_EQ(bounce_[1023], data_[1023]);
  ASSERT_EQ(transfer_.Advance(1024), std::nullopt);
  EXPECT_EQ(transfer_.Next().offset, 1536u);
  EXPECT_EQ(bounce_[0], data_[1024]);
  EXPECT_EQ(transfer_.Advance(1024), 2048);
  EXPECT_EQ(transfer_.TakeBounce().data(), bounce_.data());
  EXPECT_TRUE(transfer_.TakeBounce().empty());
}

TEST_F(DirectTransferTest, MisalignedRead_IsCopiedOut) {
  ASSERT_EQ(transfer_.Begin(file_, {.op = Op::kRead, .iov = iov_}), std::nullopt);
  transfer_.LendBounce(bounce_);
  transfer_.Next();
  bounce_.fill(std::byte{1});
  ASSERT_EQ(transfer_.Advance(1024), std::nullopt);
  transfer_.Next();
  bounce_.fill(std::byte{2});
  EXPECT_EQ(transfer_.Advance(1024), 2048);
  EXPECT_EQ(data_[1023], std::byte{1});
  EXPECT_EQ(data_[1024], std::byte{2});
  EXPECT_EQ(data_[2047], std::byte{2});
  EXPECT_EQ(data_[2048], std::byte{0});
  transfer_.TakeBounce();
}

TEST_F(DirectTransferTest, ShortWriteInsideABlock_StartsTheBlockAgain) {
  alignas(512) std::array<std::byte, 2048> aligned;
  const iovec iov{aligned.data(), aligned.size()};
  ASSERT_EQ(transfer_.Begin(file_, {.op = Op::kWrite, .iov = {&iov, 1}}), std::nullopt);
  transfer_.Next();
  ASSERT_EQ(transfer_.Advance(1030), std::nullopt);
  EXPECT_EQ(transfer_.Next().offset, 1024u);
}

}  // namespace
}  // namespace gemel::block
