#include "block/iscsi/disk_transfer.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "base/load_be.h"

namespace gemel::block {
namespace {

using Op = BlockRequest::Op;
using Verdict = DiskTransfer::Verdict;

constexpr ScsiOutcome kGood{};

DiskFacts Facts() {
  DiskFacts facts;
  facts.capacity = {.blocks = 1 << 20, .block_bytes = 512, .physical_block_bytes = 512};
  facts.limits.max_transfer_blocks = 8;
  return facts;
}

ScsiOutcome Sense(SenseKey key, std::uint16_t code) {
  return {.status = ScsiStatus::kCheckCondition, .key = key, .code = code};
}

class DiskTransferTest : public ::testing::Test {
 protected:
  static std::uint64_t Block(const ScsiCommand& command) {
    return LoadBe64(std::as_bytes(std::span(command.cdb)), 2);
  }
  static std::uint32_t Blocks(const ScsiCommand& command) {
    return LoadBe32(std::as_bytes(std::span(command.cdb)), 10);
  }
  BlockRequest Data(Op op, std::uint64_t offset) {
    return {.op = op, .offset = offset, .iov = iov_};
  }

  DiskAbilities abilities_{Facts()};
  std::array<std::byte, 6144> memory_{};
  // 12 blocks in three pieces that are no multiples of a block.
  std::array<iovec, 3> iov_ = {iovec{memory_.data(), 100}, iovec{memory_.data() + 100, 5000},
                               iovec{memory_.data() + 5100, 1044}};
  DiskTransfer transfer_;
};

TEST_F(DiskTransferTest, LongRead_IsCutWhereTheTargetWantsIt) {
  ASSERT_EQ(transfer_.Begin(Data(Op::kRead, 1024), &abilities_), Verdict::kNext);
  const ScsiCommand first = transfer_.Next();
  EXPECT_EQ(Block(first), 2u);
  EXPECT_EQ(Blocks(first), 8u);
  EXPECT_EQ(first.bytes, 4096u);
  EXPECT_EQ(first.iov.size(), 2u);
  EXPECT_EQ(transfer_.OnOutcome(kGood), Verdict::kNext);
  const ScsiCommand second = transfer_.Next();
  EXPECT_EQ(Block(second), 10u);
  EXPECT_EQ(Blocks(second), 4u);
  EXPECT_EQ(second.iov[0].iov_base, memory_.data() + 4096);
  EXPECT_EQ(transfer_.OnOutcome(kGood), Verdict::kDone);
  EXPECT_EQ(transfer_.result(), 6144);
}

TEST_F(DiskTransferTest, BytesThatDidNotCome_AreAnError) {
  transfer_.Begin(Data(Op::kRead, 0), &abilities_);
  transfer_.Next();

  EXPECT_EQ(transfer_.OnOutcome({.missing = 1}), Verdict::kDone);
  EXPECT_EQ(transfer_.result(), -EIO);
}

TEST_F(DiskTransferTest, Conflict_IsNeverSentAgain) {
  transfer_.Begin(Data(Op::kWrite, 0), &abilities_);
  transfer_.Next();

  EXPECT_EQ(transfer_.OnOutcome({.status = ScsiStatus::kReservationConflict}), Verdict::kConflict);
}

TEST_F(DiskTransferTest, DurableWrite_IsFollowedByAFlush) {
  BlockRequest request = Data(Op::kWrite, 0);
  request.durable = true;
  transfer_.Begin(request, &abilities_);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(transfer_.Next().cdb[0], 0x8a);
    EXPECT_EQ(transfer_.OnOutcome(kGood), Verdict::kNext);
  }

  EXPECT_EQ(transfer_.Next().cdb[0], 0x35);
  EXPECT_EQ(transfer_.OnOutcome(kGood), Verdict::kDone);
  EXPECT_EQ(transfer_.result(), 6144);
}

TEST_F(DiskTransferTest, DurableWriteWhereTheDiskHasIt_CarriesFua) {
  abilities_.durable_writes = true;
  abilities_.transfer_blocks = 64;
  BlockRequest request = Data(Op::kWrite, 0);
  request.durable = true;
  transfer_.Begin(request, &abilities_);

  EXPECT_EQ(transfer_.Next().cdb[1], 0x08);
  EXPECT_EQ(transfer_.OnOutcome(kGood), Verdict::kDone);
}

TEST_F(DiskTransferTest, DiskWithoutUnmap_DiscardsByDoingNothing) {
  EXPECT_EQ(transfer_.Begin({.op = Op::kDiscard, .length = 4096}, &abilities_), Verdict::kDone);
  EXPECT_EQ(transfer_.result(), 0);
}

TEST_F(DiskTransferTest, DiskWithoutWriteSame_GetsZeroes) {
  transfer_.Begin({.op = Op::kWriteZeroes, .length = 6144}, &abilities_);
  EXPECT_EQ(transfer_.Next().cdb[0], 0x93);
  EXPECT_EQ(transfer_.OnOutcome(Sense(SenseKey::kIllegalRequest, kInvalidOpcode)), Verdict::kAgain);

  EXPECT_EQ(transfer_.Next().cdb[0], 0x8a);
  EXPECT_EQ(transfer_.Next().bytes, 4096u);
  EXPECT_EQ(transfer_.OnOutcome(kGood), Verdict::kNext);
  EXPECT_EQ(transfer_.Next().bytes, 2048u);
  EXPECT_EQ(transfer_.OnOutcome(kGood), Verdict::kDone);
  EXPECT_EQ(transfer_.result(), 0);
  EXPECT_EQ(abilities_.write_same_blocks, 0u);
}

TEST_F(DiskTransferTest, FullThinDisk_IsNoSpace) {
  transfer_.Begin(Data(Op::kWrite, 0), &abilities_);
  transfer_.Next();

  EXPECT_EQ(transfer_.OnOutcome(Sense(SenseKey::kDataProtect, kSpaceAllocationFailed)),
            Verdict::kDone);
  EXPECT_EQ(transfer_.result(), -ENOSPC);
}

TEST_F(DiskTransferTest, AttentionsWithoutEnd_AreAnError) {
  transfer_.Begin(Data(Op::kRead, 0), &abilities_);
  Verdict verdict = Verdict::kAgain;
  for (int i = 0; i < 1000 && verdict == Verdict::kAgain; ++i) {
    transfer_.Next();
    verdict = transfer_.OnOutcome(Sense(SenseKey::kUnitAttention, 0x2900));
  }

  EXPECT_EQ(verdict, Verdict::kDone);
  EXPECT_EQ(transfer_.result(), -EIO);
}

TEST_F(DiskTransferTest, BusyTarget_IsAskedLater) {
  transfer_.Begin(Data(Op::kRead, 0), &abilities_);
  transfer_.Next();

  EXPECT_EQ(transfer_.OnOutcome({.status = ScsiStatus::kTaskSetFull}), Verdict::kLater);
}

TEST_F(DiskTransferTest, DiskWithoutCache_HasFlushed) {
  transfer_.Begin({.op = Op::kFlush}, &abilities_);
  EXPECT_EQ(transfer_.Next().cdb[0], 0x35);

  EXPECT_EQ(transfer_.OnOutcome(Sense(SenseKey::kIllegalRequest, kInvalidOpcode)), Verdict::kDone);
  EXPECT_EQ(transfer_.result(), 0);
}

}  // namespace
}  // namespace gemel::block
