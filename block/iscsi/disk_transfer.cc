#include "block/iscsi/disk_transfer.h"

#include <algorithm>
#include <cerrno>

namespace gemel::block {
namespace {

using Op = BlockRequest::Op;
using Verdict = DiskTransfer::Verdict;

constexpr int kMaxRetries = 64;
// So that one request of a guest does not fill a target's memory.
constexpr std::uint32_t kMaxTransferBytes = 4 << 20;
constexpr std::uint32_t kMaxRangeBlocks = 1 << 24;
constexpr std::uint32_t kZeroBytes = 64 << 10;

// Never written; as iovecs have it.
std::byte* Zeroes() {
  alignas(4096) static std::byte zeroes[kZeroBytes];
  return zeroes;
}

std::uint32_t Limit(std::uint64_t told, std::uint32_t most) {
  return told == 0 ? most : static_cast<std::uint32_t>(std::min<std::uint64_t>(told, most));
}

}  // namespace

DiskAbilities::DiskAbilities(const DiskFacts& facts)
    : block_bytes(facts.capacity.block_bytes),
      transfer_blocks(Limit(facts.limits.max_transfer_blocks, kMaxTransferBytes / block_bytes)),
      unmap_blocks(facts.provisioning.unmap ? Limit(facts.limits.max_unmap_blocks, kMaxRangeBlocks)
                                            : 0),
      write_same_blocks(Limit(facts.limits.max_write_same_blocks, kMaxRangeBlocks)),
      write_same_unmaps(facts.provisioning.write_same),
      durable_writes(facts.mode.durable_writes) {}

Verdict DiskTransfer::Begin(const BlockRequest& request, DiskAbilities* abilities) {
  request_ = request;
  abilities_ = abilities;
  total_ = request.length;
  if (request.op == Op::kRead || request.op == Op::kWrite) {
    total_ = 0;
    for (const iovec& part : request.iov) total_ += part.iov_len;
  }
  done_ = 0;
  retries_ = 0;
  result_ = 0;
  synchronizing_ = request.op == Op::kFlush;
  if (request.op == Op::kDiscard && abilities->unmap_blocks == 0) return End(0);
  if (total_ == 0 && !synchronizing_) return End(0);
  return Verdict::kNext;
}

Verdict DiskTransfer::End(std::int64_t result) {
  result_ = result;
  return Verdict::kDone;
}

std::uint32_t DiskTransfer::Blocks(std::uint64_t most) const {
  return static_cast<std::uint32_t>(
      std::min<std::uint64_t>((total_ - done_) / abilities_->block_bytes, most));
}

const ScsiCommand& DiskTransfer::Next() {
  if (synchronizing_) {
    command_ = SynchronizeCache();
    return command_;
  }
  switch (request_.op) {
    case Op::kRead:
    case Op::kWrite:
      MoveData(abilities_->transfer_blocks);
      break;
    case Op::kDiscard:
      Unmap();
      break;
    case Op::kWriteZeroes:
      if (abilities_->write_same_blocks > 0)
        WriteSame();
      else
        WriteZeroes();
      break;
    case Op::kFlush:
      break;
  }
  return command_;
}

void DiskTransfer::MoveData(std::uint32_t most_blocks) {
  const std::uint32_t blocks = Blocks(most_blocks);
  piece_ = std::uint64_t{blocks} * abilities_->block_bytes;
  iov_.clear();
  std::uint64_t skip = done_;
  std::uint64_t left = piece_;
  for (const iovec& part : request_.iov) {
    if (left == 0) break;
    if (skip >= part.iov_len) {
      skip -= part.iov_len;
      continue;
    }
    const std::uint64_t n = std::min<std::uint64_t>(part.iov_len - skip, left);
    iov_.push_back({static_cast<std::byte*>(part.iov_base) + skip, n});
    skip = 0;
    left -= n;
  }
  const bool durable = request_.durable && abilities_->durable_writes;
  command_ = request_.op == Op::kRead ? Read16(block(), blocks) : Write16(block(), blocks, durable);
  command_.bytes = static_cast<std::uint32_t>(piece_);
  command_.iov = iov_;
}

void DiskTransfer::Unmap() {
  const std::uint32_t blocks = Blocks(abilities_->unmap_blocks);
  piece_ = std::uint64_t{blocks} * abilities_->block_bytes;
  parameters_ = UnmapParameters(block(), blocks);
  iov_.assign(1, {parameters_.data(), parameters_.size()});
  command_ = block::Unmap();
  command_.iov = iov_;
}

void DiskTransfer::WriteSame() {
  const std::uint32_t blocks = Blocks(abilities_->write_same_blocks);
  piece_ = std::uint64_t{blocks} * abilities_->block_bytes;
  iov_.assign(1, {Zeroes(), abilities_->block_bytes});
  command_ = WriteSame16(block(), blocks, request_.may_unmap && abilities_->write_same_unmaps);
  command_.bytes = abilities_->block_bytes;
  command_.iov = iov_;
}

void DiskTransfer::WriteZeroes() {
  const std::uint32_t blocks = Blocks(abilities_->transfer_blocks);
  piece_ = std::uint64_t{blocks} * abilities_->block_bytes;
  iov_.clear();
  for (std::uint64_t left = piece_; left > 0;) {
    const std::uint64_t n = std::min<std::uint64_t>(left, kZeroBytes);
    iov_.push_back({Zeroes(), n});
    left -= n;
  }
  command_ = Write16(block(), blocks, false);
  command_.bytes = static_cast<std::uint32_t>(piece_);
  command_.iov = iov_;
}

Verdict DiskTransfer::OnOutcome(const ScsiOutcome& outcome) {
  switch (outcome.status) {
    case ScsiStatus::kGood:
      break;
    case ScsiStatus::kReservationConflict:
      return Verdict::kConflict;
    case ScsiStatus::kBusy:
    case ScsiStatus::kTaskSetFull:
      return Verdict::kLater;
    case ScsiStatus::kTaskAborted:
      return ++retries_ > kMaxRetries ? End(-EIO) : Verdict::kAgain;
    case ScsiStatus::kCheckCondition:
      return OnSense(outcome);
    default:
      return End(-EIO);
  }
  if (outcome.missing != 0) return End(-EIO);
  retries_ = 0;
  if (synchronizing_) return End(request_.op == Op::kWrite ? static_cast<std::int64_t>(total_) : 0);
  done_ += piece_;
  if (done_ < total_) return Verdict::kNext;
  const bool by_itself = request_.op == Op::kWrite && abilities_->durable_writes;
  if (request_.durable && !by_itself) {
    synchronizing_ = true;
    return Verdict::kNext;
  }
  const bool moved = request_.op == Op::kRead || request_.op == Op::kWrite;
  return End(moved ? static_cast<std::int64_t>(total_) : 0);
}

// A command that this disk does not have: the next best way, from now on.
bool DiskTransfer::FallBack(const ScsiOutcome& outcome) {
  if (outcome.key != SenseKey::kIllegalRequest || synchronizing_) return false;
  if (request_.op == Op::kWriteZeroes && abilities_->write_same_blocks > 0) {
    if (request_.may_unmap && abilities_->write_same_unmaps)
      abilities_->write_same_unmaps = false;
    else
      abilities_->write_same_blocks = 0;
    return true;
  }
  if (request_.op == Op::kWrite && request_.durable && abilities_->durable_writes) {
    abilities_->durable_writes = false;
    return true;
  }
  return false;
}

Verdict DiskTransfer::OnSense(const ScsiOutcome& outcome) {
  if (FallBack(outcome)) return Verdict::kAgain;
  switch (outcome.key) {
    case SenseKey::kUnitAttention:  // told once; the command was not done (SAM-5, 5.14)
    case SenseKey::kAbortedCommand:
      return ++retries_ > kMaxRetries ? End(-EIO) : Verdict::kAgain;
    case SenseKey::kNotReady:
      return ++retries_ > kMaxRetries ? End(-EIO) : Verdict::kLater;
    case SenseKey::kDataProtect:
      return End(outcome.code == kSpaceAllocationFailed ? -ENOSPC : -EROFS);
    case SenseKey::kIllegalRequest:
      // A disk without a cache need not know how to write it back; a discard is advice.
      if (synchronizing_ && outcome.code == kInvalidOpcode)
        return End(request_.op == Op::kWrite ? static_cast<std::int64_t>(total_) : 0);
      if (request_.op == Op::kDiscard) {
        abilities_->unmap_blocks = 0;
        return End(0);
      }
      return End(-EIO);
    default:
      return End(-EIO);
  }
}

}  // namespace gemel::block
