// What the tests explore: which faults, how many, on what clocks and disks.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <string>

#include "tests/explorer/search.h"

namespace gemel::explorer {

constexpr std::uint64_t Bits(std::initializer_list<Do> faults) {
  std::uint64_t bits = 0;
  for (const Do fault : faults) bits |= Bit(fault);
  return bits;
}
// Whole hosts, and what they reach.
inline constexpr std::uint64_t kHostFaults =
    Bits({Do::kCut, Do::kHangWatch, Do::kFreeze, Do::kCrash});
// All that can happen to hosts, processes, calls and commands, but for etcd's own past.
inline constexpr std::uint64_t kMostFaults =
    kHostFaults | Bits({Do::kStopClock, Do::kStallVm, Do::kKeeperCrash, Do::kDaemonCrash,
                        Do::kLoseCall, Do::kLoseAnswer, Do::kLateAnswer, Do::kLateCall,
                        Do::kLoseStorage, Do::kLoseStorageAnswer, Do::kCutStorage});

// Searches, and prints what was covered, or how it broke.
Found Explore(const Config& config);
// Faults of the deep runs: GEMEL_EXPLORER_FAULTS more than `usual`.
std::uint8_t Deeper(std::uint8_t usual);
// Whether the longest runs are to be left out: GEMEL_EXPLORER_QUICK is set.
bool Hurried();

}  // namespace gemel::explorer
