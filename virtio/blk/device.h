// The block device (virtio 1.2, section 5.2): a BlockBackend as a guest's disk.
//
// Not implemented: multi-segment discard and write-zeroes, secure erase, switching the write cache
// (CONFIG_WCE), lifetime, zones. A driver that does not negotiate FLUSH gets a write-through disk
// (5.2.6.2). A backend's error, ENOSPC included, is the guest's IOERR and one rate-limited log
// line.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "block/backend.h"
#include "virtio/device.h"

namespace gemel::virtio {

// What a disk has done. Written by the device's worker alone; any thread may read.
struct BlkCounters {
  std::atomic<std::uint64_t> reads = 0, writes = 0, flushes = 0, discards = 0, write_zeroes = 0;
  std::atomic<std::uint64_t> bytes_read = 0, bytes_written = 0;
  std::atomic<std::uint64_t> errors = 0;  // requests answered with anything but OK
};

// Name and value of each, in an order that stays.
std::vector<std::pair<std::string, std::uint64_t>> List(const BlkCounters& counters);

struct BlkOptions {
  std::string name;    // of the worker's thread and in log lines: "blk0"
  std::string serial;  // what GET_ID answers, at most 20 bytes
  std::unique_ptr<block::BlockBackend> backend;
  std::uint16_t num_queues = 1;     // 1 to 64, all served by one worker
  BlkCounters* counters = nullptr;  // outlives the device; may be missing
};

// kInvalidArgument, naming the value, for a serial that is too long or a bad number of queues.
Result<std::unique_ptr<VirtioDevice>> CreateBlk(BlkOptions options);

}  // namespace gemel::virtio
