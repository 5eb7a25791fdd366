// Model-specific registers that firmware would have set before an operating system starts.
#pragma once
#include <cstdint>
#include <vector>

namespace gemel::x86 {

struct Msr {
  std::uint32_t index = 0;
  std::uint64_t value = 0;
};

inline constexpr std::uint32_t kMsrTsc = 0x10;
inline constexpr std::uint32_t kMsrMiscEnable = 0x1a0;
inline constexpr std::uint32_t kMsrMtrrDefaultType = 0x2ff;
inline constexpr std::uint32_t kMsrTscDeadline = 0x6e0;

// For every vCPU before its first instruction.
std::vector<Msr> FirmwareMsrs();

}  // namespace gemel::x86
