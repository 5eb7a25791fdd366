// What keeps a device busy and counts: what blk and net have in common.
#pragma once
#include <cstddef>
#include <cstdint>

#include "tests/guests/bench/clock.h"
#include "tests/guests/bench/histogram.h"
#include "tests/guests/bench/options.h"
#include "tests/guests/bench/queue.h"
#include "tests/guests/runtime/user_mode.h"

namespace bench {

struct Counts {
  std::uint64_t ops = 0, bytes = 0, errors = 0, ticks = 0;
};

struct Load {
  // Makes the device ready, or ends the guest. At CPL 0.
  void (*prepare)(const Device& device, const Options& options);
  // Keeps it busy for that long. At CPL 3, as often as wanted.
  Counts (*run)(std::uint64_t ticks, Histogram& latency);
  std::uint64_t (*kicks)();
};
extern const Load kBlkLoad;  // virtio 1.2, 5.2
extern const Load kNetLoad;  // 5.1

// RAM for buffers: nothing else lies there in a guest of 64 MiB.
inline constexpr std::uint64_t kBuffers = 8 << 20, kBufferBytes = 48 << 20;

// Waits for the device to use a chain.
inline void Await(Queue& queue, bool interrupts) {
  if (!interrupts) {
    asm volatile("pause");
    return;
  }
  if (queue.AskForInterrupt()) guest::SleepInUserMode();
  queue.RefuseInterrupts();
}

// Keeps `depth` chains in flight for that long, then lets them end; at CPL 3. `Work` has
// Begin(slot), which offers the slot's chain, SlotOf(head), and End(slot), which looks at what the
// device made of it and counts.
template <class Work>
void KeepInFlight(Work& work, Queue& queue, std::uint32_t depth, std::uint64_t ticks,
                  bool interrupts, Histogram& latency) {
  static std::uint64_t began[kMaxQueueSize];
  std::uint64_t now = Now();
  const std::uint64_t until = now + ticks;
  for (std::uint32_t slot = 0; slot < depth; ++slot) {
    began[slot] = now;
    work.Begin(slot);
  }
  queue.Publish();
  std::uint32_t in_flight = depth;
  while (in_flight > 0) {
    if (!queue.has_used()) {
      Await(queue, interrupts);
      continue;
    }
    now = Now();
    while (queue.has_used()) {
      const std::uint32_t slot = work.SlotOf(queue.Take().head);
      latency.Add(now - began[slot]);
      work.End(slot);
      if (now < until) {
        began[slot] = now;
        work.Begin(slot);
      } else {
        --in_flight;
      }
    }
    queue.Publish();
  }
}

}  // namespace bench
