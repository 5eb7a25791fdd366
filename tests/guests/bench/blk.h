// virtio-blk as a load (virtio 1.2, 5.2).
#pragma once
#include "tests/guests/bench/load.h"
#include "tests/guests/bench/options.h"

namespace bench {

// Makes the device ready, or ends the guest. At CPL 0.
void PrepareBlk(const Device& device, const Options& options);
// At CPL 3: for that long.
Counts RunBlk(std::uint64_t ticks, Histogram& latency);
std::uint64_t BlkKicks();

}  // namespace bench
