// The block device (virtio 1.2, section 5.2): a BlockBackend as a guest's disk.
//
// Not implemented: multi-segment discard and write-zeroes, secure erase, switching the write cache
// (CONFIG_WCE), lifetime, zones. A driver that does not negotiate FLUSH gets a write-through disk
// (5.2.6.2). A backend's error, ENOSPC included, is the guest's IOERR and one rate-limited log
// line.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/permit.h"
#include "base/result.h"
#include "block/backend.h"
#include "virtio/device.h"

namespace gemel::virtio {

// What a disk has done. Written by the device's worker alone; any thread may read.
struct BlkCounters {
  std::atomic<std::uint64_t> reads = 0, writes = 0, flushes = 0, discards = 0, write_zeroes = 0;
  std::atomic<std::uint64_t> bytes_read = 0, bytes_written = 0;
  std::atomic<std::uint64_t> errors = 0;  // requests answered with anything but OK
  // Of them, those that the backend could not carry out: the host's fault, not the guest's.
  std::atomic<std::uint64_t> io_errors = 0;
  // From a request's start to its end, together, for those that succeeded.
  std::atomic<std::uint64_t> read_ns = 0, write_ns = 0, flush_ns = 0;
};

// What a backend could not do.
struct BlkTrouble {
  std::string what;         // "write of 4096 bytes at 8192: No space left on device"
  std::uint64_t count = 0;  // such failures since the last report
};

// Name and value of each, in an order that stays.
std::vector<std::pair<std::string, std::uint64_t>> List(const BlkCounters& counters);

struct BlkOptions {
  std::string name;    // of the worker's thread and in log lines: "blk0"
  std::string serial;  // what GET_ID answers, at most 20 bytes
  std::unique_ptr<block::BlockBackend> backend;
  std::uint16_t num_queues = 1;     // 1 to 64, all served by one worker
  BlkCounters* counters = nullptr;  // outlives the device; may be missing
  // Called on the worker's thread, at once and then at most every 10 s, whatever the guest does.
  std::function<void(const BlkTrouble&)> on_trouble = nullptr;
  Permit* permit = nullptr;  // the backend's; outlives the device
};

// kInvalidArgument, naming the value, for a serial that is too long or a bad number of queues.
Result<std::unique_ptr<VirtioDevice>> CreateBlk(BlkOptions options);

}  // namespace gemel::virtio
