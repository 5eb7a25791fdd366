// What the command line asks for.
//
//   device=blk|net   transport=mmio|pci   (by default whichever there is)
//   rw=randread|randwrite|read|write      blk: pattern
//   rw=tx|rx                              net: direction
//   bs=4096     bytes of a request; of a frame, from 64 to 65535
//   qd=32       requests in flight
//   ms=1000     how long is measured; warm=200 before that, uncounted; settle=50 of quiet on both
//               sides, in which a host may look at clocks
//   wait=poll|interrupt
//   end=reset   resets instead of powering off, for a machine without ACPI
//   event=0     without VIRTIO_F_EVENT_IDX; indirect=0 without VIRTIO_F_INDIRECT_DESC
#pragma once
#include <cstdint>

#include "tests/guests/bench/device.h"

namespace bench {

enum class Pattern : std::uint8_t { kRandomRead, kRandomWrite, kRead, kWrite, kTransmit, kReceive };

struct Options {
  Type type;
  Pattern pattern;
  bool mmio, pci;  // transports to look at
  bool interrupts;
  std::uint32_t size;
  std::uint32_t depth;
  std::uint64_t milliseconds, warm_up_milliseconds, settle_milliseconds;
  std::uint64_t features;  // those of a ring
};

// Ends the guest if they make no sense.
Options ParseOptions();
const char* ToString(Pattern pattern);

// Prints "FAIL: <what>" and ends the guest.
[[noreturn]] void Fail(const char* what);

}  // namespace bench
