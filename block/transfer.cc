#include "block/transfer.h"

#include <limits.h>
#include <linux/falloc.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace gemel::block {
namespace {

constexpr int kMaxRetries = 100;
// Zeros are written 1 MiB a call, from the same 64 KiB.
constexpr std::size_t kZeroBytes = 64 << 10;
constexpr std::size_t kZeroSegments = 16;
// Never written to; not const, so that it lies in .bss and takes no room in the program.
alignas(kBounceAlignment) std::byte zeros[kZeroBytes];

std::uint64_t Length(std::span<const iovec> iov) {
  std::uint64_t sum = 0;
  for (const iovec& segment : iov) sum += segment.iov_len;
  return sum;
}

// Calls use(pointer, length) for `length` bytes of `iov` after the first `skip`.
template <class Use>
void ForBytes(std::span<const iovec> iov, std::uint64_t skip, std::uint64_t length, Use use) {
  for (const iovec& segment : iov) {
    if (length == 0) return;
    if (skip >= segment.iov_len) {
      skip -= segment.iov_len;
      continue;
    }
    const std::uint64_t n = std::min<std::uint64_t>(segment.iov_len - skip, length);
    use(static_cast<std::byte*>(segment.iov_base) + skip, static_cast<std::size_t>(n));
    length -= n;
    skip = 0;
  }
}

bool Unsupported(std::int64_t error) { return error == -EOPNOTSUPP || error == -ENOSYS; }

}  // namespace

std::optional<std::int64_t> Transfer::Begin(RawFile& file, const BlockRequest& request) {
  CHECK(bounce_.empty());
  file_ = &file;
  request_ = request;
  must_block_ = false;
  retries_ = 0;
  done_ = 0;
  result_ = 0;
  PickPhase();
  // A failed flush may have dropped the dirty pages it could not write: no later one makes them
  // safe.
  if (phase_ == Phase::kSync && file.flush_error != 0) return file.flush_error;
  if (phase_ != Phase::kSync && total_ == 0) return 0;
  return std::nullopt;
}

void Transfer::PickPhase() {
  using Op = BlockRequest::Op;
  constexpr int kPunch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  constexpr int kZero = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
  total_ = request_.length;
  switch (request_.op) {
    case Op::kRead:
    case Op::kWrite:
      total_ = Length(request_.iov);
      phase_ = file_->direct && Misaligned() ? Phase::kBounce : Phase::kVector;
      return;
    case Op::kFlush:
      phase_ = Phase::kSync;
      return;
    case Op::kDiscard:
      phase_ = Phase::kAllocate;
      mode_ = kPunch;
      if (!file_->can_punch) total_ = 0;  // advice that cannot be followed
      return;
    case Op::kWriteZeroes:
      mode_ = request_.may_unmap && file_->can_punch ? kPunch : kZero;
      phase_ = mode_ == kZero && !file_->can_zero_range ? Phase::kZeroes : Phase::kAllocate;
      return;
  }
  CHECK(false);
}

bool Transfer::Misaligned() const {
  const auto misaligned = [this](const iovec& segment) {
    // SAFETY: only the address's value is looked at.
    const auto address = reinterpret_cast<std::uintptr_t>(segment.iov_base);
    return address % file_->memory_alignment != 0 || segment.iov_len % file_->length_alignment != 0;
  };
  return std::any_of(request_.iov.begin(), request_.iov.end(), misaligned);
}

std::span<std::byte> Transfer::TakeBounce() { return std::exchange(bounce_, {}); }

IoCall Transfer::Next() {
  const bool write = request_.op != BlockRequest::Op::kRead;
  IoCall call{.kind = write ? IoCall::Kind::kWrite : IoCall::Kind::kRead,
              .offset = request_.offset + done_};
  switch (phase_) {
    case Phase::kVector:
      call.iov = done_ == 0 ? request_.iov : std::span<const iovec>(rest_);
      call.iov = call.iov.first(std::min<std::size_t>(call.iov.size(), IOV_MAX));
      return call;
    case Phase::kBounce:
      return NextBounce();
    case Phase::kZeroes:
      return NextZeroes();
    case Phase::kAllocate:
      call.kind = IoCall::Kind::kAllocate;
      call.mode = mode_;
      call.length = total_;
      return call;
    case Phase::kSync:
      return IoCall{.kind = IoCall::Kind::kSync};
  }
  CHECK(false);
}

IoCall Transfer::NextBounce() {
  CHECK(!bounce_.empty());
  const bool write = request_.op == BlockRequest::Op::kWrite;
  const std::uint64_t n = std::min<std::uint64_t>(bounce_.size(), total_ - done_);
  bounce_iov_ = {.iov_base = bounce_.data(), .iov_len = n};
  if (write) {
    std::byte* to = bounce_.data();
    ForBytes(request_.iov, done_, n, [&to](const std::byte* from, std::size_t length) {
      std::memcpy(to, from, length);
      to += length;
    });
  }
  return {.kind = write ? IoCall::Kind::kWrite : IoCall::Kind::kRead,
          .offset = request_.offset + done_,
          .iov = {&bounce_iov_, 1}};
}

IoCall Transfer::NextZeroes() {
  rest_.clear();
  std::uint64_t left = total_ - done_;
  while (left > 0 && rest_.size() < kZeroSegments) {
    const std::uint64_t n = std::min<std::uint64_t>(left, kZeroBytes);
    rest_.push_back({.iov_base = zeros, .iov_len = n});
    left -= n;
  }
  return {.kind = IoCall::Kind::kWrite, .offset = request_.offset + done_, .iov = rest_};
}

std::optional<std::int64_t> Transfer::Advance(std::int64_t result) {
  if (result == -EINTR || result == -EAGAIN) {
    if (++retries_ > kMaxRetries) return Failed(result);
    must_block_ = result == -EAGAIN;
    return std::nullopt;
  }
  must_block_ = false;
  if (phase_ == Phase::kAllocate) return AdvanceAllocate(result);
  if (result < 0) return Failed(result);
  if (phase_ == Phase::kSync) return result_;
  return AdvanceData(result);
}

std::optional<std::int64_t> Transfer::AdvanceData(std::int64_t moved) {
  const auto bytes = static_cast<std::uint64_t>(moved);
  CHECK(bytes <= total_ - done_);
  if (phase_ == Phase::kBounce && request_.op == BlockRequest::Op::kRead) {
    const std::byte* from = bounce_.data();
    ForBytes(request_.iov, done_, bytes, [&from](std::byte* to, std::size_t length) {
      std::memcpy(to, from, length);
      from += length;
    });
  }
  // O_DIRECT cannot go on inside a block; where a read stops there, the file ends there.
  const std::uint64_t whole =
      done_ + bytes == total_ ? bytes : bytes - bytes % file_->length_alignment;
  if (request_.op == BlockRequest::Op::kRead && (bytes == 0 || whole != bytes))
    return EndOfFile(bytes);
  if (whole == 0) return -EIO;  // a write that moves nothing would do so for ever
  return Moved(whole);
}

std::optional<std::int64_t> Transfer::EndOfFile(std::uint64_t tail) {
  // The file was made shorter under us: what is missing reads as zeros.
  ForBytes(request_.iov, done_ + tail, total_ - done_ - tail,
           [](std::byte* at, std::size_t length) { std::memset(at, 0, length); });
  return static_cast<std::int64_t>(total_);
}

std::optional<std::int64_t> Transfer::Moved(std::uint64_t bytes) {
  done_ += bytes;
  retries_ = 0;
  if (done_ == total_)
    return Finish(
        request_.op == BlockRequest::Op::kWriteZeroes ? 0 : static_cast<std::int64_t>(total_));
  if (phase_ == Phase::kVector) KeepRest();
  return std::nullopt;
}

std::optional<std::int64_t> Transfer::AdvanceAllocate(std::int64_t result) {
  if (result == 0) return Finish(0);
  if (!Unsupported(result)) return Failed(result);
  if ((mode_ & FALLOC_FL_PUNCH_HOLE) != 0) {
    file_->can_punch = false;
    if (request_.op == BlockRequest::Op::kDiscard) return 0;
    mode_ = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
    phase_ = file_->can_zero_range ? Phase::kAllocate : Phase::kZeroes;
    return std::nullopt;
  }
  file_->can_zero_range = false;
  phase_ = Phase::kZeroes;
  return std::nullopt;
}

std::optional<std::int64_t> Transfer::Finish(std::int64_t result) {
  const bool wrote =
      request_.op == BlockRequest::Op::kWrite || request_.op == BlockRequest::Op::kWriteZeroes;
  if (!request_.durable || !wrote) return result;
  result_ = result;
  phase_ = Phase::kSync;
  if (file_->flush_error != 0) return file_->flush_error;
  return std::nullopt;
}

std::optional<std::int64_t> Transfer::Failed(std::int64_t error) {
  if (phase_ == Phase::kSync && !file_->direct) file_->flush_error = static_cast<int>(error);
  return error;
}

void Transfer::KeepRest() {
  std::vector<iovec> rest;
  ForBytes(request_.iov, done_, total_ - done_, [&rest](std::byte* at, std::size_t length) {
    rest.push_back({.iov_base = at, .iov_len = length});
  });
  rest_ = std::move(rest);
}

}  // namespace gemel::block
