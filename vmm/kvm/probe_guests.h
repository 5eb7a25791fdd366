// The guests that ProbeKvm runs: a few instructions each, as bytes. Private to vmm/kvm.
//
// Each starts at kProbeCode in 64-bit kernel mode with 2 MiB mapped to itself, user mode allowed, a
// stack below kProbeCode and no IDT. One that works ends by writing kProbePass to kProbePort.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace gemel::kvm {

inline constexpr std::uint64_t kProbeCode = 0x8000;
inline constexpr std::uint16_t kProbePort = 0x80;
inline constexpr std::uint8_t kProbePass = 0x5a;

struct ProbeGuestImage {
  const char* name;     // what works if it passes
  const char* missing;  // a sentence for a person if it does not
  std::span<const std::byte> code;
};

std::span<const ProbeGuestImage> ProbeGuestImages();

}  // namespace gemel::kvm
