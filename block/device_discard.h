// Whether a block device discards: only /sys says so, which whoever opens the device can see and the
// sandbox of a VM cannot.
#pragma once
#include <cstdint>

namespace gemel::block {

// Bytes that a discard of this open block device begins and ends at multiples of; 0: it has no
// discard, is no block device, or /sys cannot be seen.
std::uint32_t DeviceDiscard(int fd);

}  // namespace gemel::block
