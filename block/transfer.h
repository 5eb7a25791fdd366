// What one BlockRequest takes in system calls, without making them: the part that both engines
// share.
//
//   result = transfer.Begin(file, request);             // a value: done without any call
//   if (transfer.needs_bounce()) transfer.LendBounce(buffer);
//   do result = transfer.Advance(outcome of transfer.Next()); while (!result);
//   transfer.TakeBounce();
//
// It continues short transfers, fills reads past the end with zeros, takes the next best way where
// a file system lacks fallocate's modes, moves misaligned O_DIRECT data through a bounce buffer,
// and makes `durable` writes so. One thread. Memory: a vector of iovecs, only once a transfer came
// short.
#pragma once
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "block/backend.h"
#include "block/raw_file.h"

namespace gemel::block {

// What bounce buffers must be aligned to; their size is a multiple of it.
inline constexpr std::size_t kBounceAlignment = 4096;

// One system call. kRead: preadv, kWrite: pwritev, kAllocate: fallocate, kSync: fdatasync.
struct IoCall {
  enum class Kind : std::uint8_t { kRead, kWrite, kAllocate, kSync };
  Kind kind = Kind::kSync;
  int mode = 0;                     // kAllocate
  std::uint64_t offset = 0;         // all but kSync
  std::uint64_t length = 0;         // kAllocate
  std::span<const iovec> iov = {};  // kRead, kWrite: 1 to IOV_MAX, valid until Advance
};

class Transfer {
 public:
  // `file` outlives the transfer. The result if nothing has to be done.
  std::optional<std::int64_t> Begin(RawFile& file, const BlockRequest& request);

  // Whether Next needs a buffer lent first (kBounceAlignment-aligned).
  bool needs_bounce() const { return phase_ == Phase::kBounce && bounce_.empty(); }
  void LendBounce(std::span<std::byte> buffer) { bounce_ = buffer; }
  // Gives back what was lent; empty if nothing was.
  std::span<std::byte> TakeBounce();

  IoCall Next();
  // Takes the call's return value or -errno. The request's result, or nothing: call Next again.
  std::optional<std::int64_t> Advance(std::int64_t result);

  const BlockRequest& request() const { return request_; }
  // True after -EAGAIN: the next call may block and should be made where that does no harm.
  bool must_block() const { return must_block_; }

 private:
  enum class Phase : std::uint8_t { kVector, kBounce, kAllocate, kZeroes, kSync };

  void PickPhase();
  bool Misaligned() const;
  IoCall NextBounce();
  IoCall NextZeroes();
  std::optional<std::int64_t> AdvanceData(std::int64_t moved);
  std::optional<std::int64_t> AdvanceAllocate(std::int64_t result);
  std::optional<std::int64_t> EndOfFile(std::uint64_t tail);
  std::optional<std::int64_t> Moved(std::uint64_t bytes);
  std::optional<std::int64_t> Finish(std::int64_t result);
  std::optional<std::int64_t> Failed(std::int64_t error);
  void KeepRest();

  RawFile* file_ = nullptr;
  BlockRequest request_;
  Phase phase_ = Phase::kSync;
  bool must_block_ = false;
  int mode_ = 0;
  int retries_ = 0;
  std::uint64_t total_ = 0;  // bytes to move
  std::uint64_t done_ = 0;   // bytes moved
  std::int64_t result_ = 0;  // what a durable write will answer after its flush
  std::span<std::byte> bounce_;
  iovec bounce_iov_{};
  std::vector<iovec> rest_;  // what is left of request_.iov, or zeros to write
};

}  // namespace gemel::block
