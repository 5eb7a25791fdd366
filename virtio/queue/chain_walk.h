// Reading one chain of descriptors out of guest memory and checking it: the whole of what a hostile
// driver can say about a buffer. Pure: it changes nothing but `segments`.
#pragma once
#include <sys/uio.h>

#include <cstdint>
#include <expected>
#include <span>

#include "virtio/queue/split_ring.h"
#include "virtio/queue/virt_queue.h"
#include "vmm/memory/guest_memory.h"

namespace gemel::virtio {

// How many of the segments are device-readable (they come first) and how many device-writable.
struct ChainShape {
  std::uint32_t readable = 0;
  std::uint32_t writable = 0;
};

// Where chains of one queue lie, and what their driver may do.
struct ChainTable {
  const GuestMemory* memory;
  const std::byte* descriptors;  // queue_size of them, in one region of RAM, 16-aligned
  std::uint16_t queue_size;
  bool indirect_negotiated;
};

// Walks the chain at `head` and fills the front of `segments` with its buffers.
//  * each descriptor is copied once, so what is checked is what is used;
//  * the walk takes at most as many steps as the table has descriptors (2.7.5.1: no loops);
//  * an indirect table (2.7.5.3) has between 1 and queue_size descriptors, ends the chain, and
//  holds no
//    further indirect one; its own WRITE flag is ignored (2.7.5.3.2);
//  * all buffers together have at most 2^32 - 1 bytes (2.7.5.1), so a total fits where a length
//  fits;
//  * descriptors of length 0 are legal and give no segment.
std::expected<ChainShape, QueueError> WalkChain(const ChainTable& table, std::uint16_t head,
                                                std::span<iovec> segments);

}  // namespace gemel::virtio
