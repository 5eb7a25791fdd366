// A disk's contents, asynchronously: iovecs in, tagged results out.
//
// Formats and I/O engines implement it; decorators (throttle, read-only) nest. It knows nothing of
// virtio or KVM. One thread: the worker that owns it, from the first call on.
//
//   if (backend.HasRoom()) backend.Queue(request);   // as often as there is room and work
//   backend.Submit();                                // once a batch: one system call
//   backend.Reap(completions);                       // what came at once (a page cache's answer)
//   ... completion_fd readable ... backend.Reap(completions);
#pragma once
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/result.h"

namespace gemel::block {

struct BlockRequest {
  enum class Op : std::uint8_t { kRead, kWrite, kFlush, kDiscard, kWriteZeroes };
  Op op = Op::kRead;
  std::uint64_t offset = 0;         // bytes; kRead .. kWriteZeroes
  std::uint64_t length = 0;         // bytes; kDiscard and kWriteZeroes (others: the iovecs' sum)
  bool may_unmap = false;           // kWriteZeroes: the range may become a hole
  bool durable = false;             // kWrite, kWriteZeroes: on stable storage before it completes
  std::span<const iovec> iov = {};  // kRead, kWrite; stays valid until the completion is reaped
  std::uint64_t tag = 0;            // returned with the completion
};

struct BlockCompletion {
  std::uint64_t tag = 0;
  // Bytes moved by kRead and kWrite, which is always all of them; 0 for the others; or -errno.
  // Engines resubmit short transfers themselves; a read past the end of the file is zeros. A
  // discard that the storage cannot do is done: it is advice (virtio 1.2, 5.2.6.2).
  std::int64_t result = 0;
};

// What the storage below is like; what a device tells its guest.
struct BlockTopology {
  std::uint32_t logical_block_size = 512;   // power of two; requests are multiples of it
  std::uint32_t physical_block_size = 512;  // power of two, >= logical
  std::uint32_t optimal_io_size = 0;        // bytes, 0 if unknown
  std::uint32_t discard_granularity = 0;    // bytes, 0 if discard is not supported
};

class BlockBackend {
 public:
  virtual ~BlockBackend() = default;
  virtual std::uint64_t size() const = 0;  // bytes, a multiple of 512
  virtual bool read_only() const = 0;
  virtual BlockTopology topology() const = 0;
  // Which engine this is, for `info` ("io_uring", "sync").
  virtual std::string_view engine() const = 0;

  // Readable when a request completes later than in Submit. What completes during Submit, or is
  // left over because Reap's `out` was full, does not signal it: Reap after each Submit, until it
  // returns less than it could, and only then wait. Level-triggered; Reap clears it.
  virtual int completion_fd() const = 0;
  virtual bool HasRoom() const = 0;
  // REQUIRES: HasRoom(); the request lies inside size() and suits topology(), which the caller has
  // checked. Nothing is read or written before Submit.
  virtual void Queue(const BlockRequest& request) = 0;
  // Starts everything queued. After an error what could not be started completes with -errno.
  // A backend with a Permit asks it right before each submission, in Reap as well. What it may not
  // submit it holds, queued; Submit, when the permit was renewed, goes on with it.
  virtual Status Submit() = 0;
  // Requests, or parts of them, that were started and whose result was not taken. Held ones are not.
  virtual std::size_t in_flight() const { return 0; }
  // Fills `out` with completions and returns how many; 0 if none wait. May start the rest of
  // requests that were moved in part. Drains completion_fd.
  virtual std::size_t Reap(std::span<BlockCompletion> out) = 0;
  // Nobody waits for what is in flight any more (a reset). What cannot end by itself, because the
  // storage is away, ends with an error, for Reap; the rest ends as it would.
  virtual void Abandon() {}
  // The permit is over, on the thread that submits: nothing that waits is sent any more.
  virtual void OnPermitOver() {}
};

}  // namespace gemel::block
