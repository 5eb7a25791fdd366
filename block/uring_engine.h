// The asynchronous engine: one io_uring, which can do nothing but this disk's I/O.
//
// A ring walks around seccomp (OPENAT and SOCKET would succeed through it), so it is created
// disabled, restricted to the opcodes below and to its one registered file, and only then enabled;
// from then on no io_uring_register call on it succeeds, ours included. Needs Linux 5.10.
//
// One thread at a time from the first Queue on; it need not be the creating one. Destruction waits
// for what is in flight. Memory is bounded: `depth` slots, and four bounce buffers once O_DIRECT
// needs them.
#pragma once
#include <linux/io_uring.h>

#include <array>
#include <cstdint>
#include <memory>

#include "base/permit.h"
#include "base/result.h"
#include "block/backend.h"
#include "block/raw_file.h"

namespace gemel::block {

inline constexpr std::array<std::uint8_t, 6> kUringOpcodes = {IORING_OP_READ,  IORING_OP_WRITE,
                                                              IORING_OP_READV, IORING_OP_WRITEV,
                                                              IORING_OP_FSYNC, IORING_OP_FALLOCATE};

// `depth`: how many requests may be in flight, 1 to 4096. An error leaves `file` as it was, for the
// synchronous engine to take; its code is kUnimplemented or kPermissionDenied where the host has no
// io_uring or forbids it.
//
// With a permit: entries that were prepared stay in the ring while it does not hold, where the kernel
// does not look. What the kernel has taken is out of our hands: it may hand it to a thread of its own,
// which starts it later.
Result<std::unique_ptr<BlockBackend>> CreateUringEngine(RawFile&& file, std::uint32_t depth,
                                                        Permit* permit = nullptr);

}  // namespace gemel::block
