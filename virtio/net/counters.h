// What a network device has done. Each pair of queues has its own; its worker alone writes them, any
// thread may read.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>

namespace gemel::virtio {

struct NetCounters {
  std::atomic<std::uint64_t> rx_packets = 0, rx_bytes = 0;
  std::atomic<std::uint64_t> rx_filtered = 0;  // not for this guest
  std::atomic<std::uint64_t> rx_dropped = 0;   // no link, or larger than the driver's buffers
  std::atomic<std::uint64_t> rx_starved = 0;   // times that the driver had no buffer
  std::atomic<std::uint64_t> tx_packets = 0, tx_bytes = 0;
  std::atomic<std::uint64_t> tx_dropped = 0;  // no link, or a frame or header that makes no sense
  std::atomic<std::uint64_t> tx_errors = 0;   // the host would not take it
  std::atomic<std::uint64_t> tx_full = 0;     // times that the host had no room
};

// One writer, so no locked instruction.
inline void Add(std::atomic<std::uint64_t>& counter, std::uint64_t n) {
  counter.store(counter.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
}

}  // namespace gemel::virtio
