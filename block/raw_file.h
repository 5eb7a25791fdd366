// A raw disk image or block device as the engines see it: its descriptor and what was probed of it.
#pragma once
#include <cstdint>

#include "base/result.h"
#include "base/unique_fd.h"
#include "block/backend.h"

namespace gemel::block {

struct RawFile {
  UniqueFd fd;
  std::uint64_t size = 0;  // bytes, a multiple of topology.logical_block_size
  bool read_only = false;
  bool direct = false;  // O_DIRECT: each iovec must suit the two alignments below
  std::uint32_t memory_alignment = 1;
  std::uint32_t length_alignment = 1;
  BlockTopology topology;

  // Learnt while running, by the one thread that owns the engine.
  bool can_punch = true;       // FALLOC_FL_PUNCH_HOLE
  bool can_zero_range = true;  // FALLOC_FL_ZERO_RANGE
  int flush_error = 0;  // -errno of the first failed flush through the page cache, see Transfer
};

// Takes over an open regular file or block device and probes it; `direct` turns O_DIRECT on.
// O_APPEND and O_NONBLOCK are cleared, since they change what a write at an offset means.
// kInvalidArgument, naming the value and what to do: not a file or block device; opened read-only
// but to be written; a size of 0 or not a multiple of the logical block size; no O_DIRECT there.
// `device_discard` is DeviceDiscard() of it; of a regular file nobody asks.
Result<RawFile> ProbeRawFile(UniqueFd fd, bool read_only, bool direct,
                             std::uint32_t device_discard = 0);

}  // namespace gemel::block
