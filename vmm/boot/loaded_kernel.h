// What a loader leaves for the rest of direct boot: where the kernel lies and what it wants.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "vmm/arch/x86/boot_state.h"
#include "vmm/arch/x86/layout.h"

namespace gemel::boot {

struct LoadedKernel {
  x86::BootState::Mode mode = x86::BootState::Mode::kProtected32;
  std::uint64_t entry = 0;
  // [start, end) is the kernel's, bss and working space included: nothing else may lie there.
  std::uint64_t start = 0;
  std::uint64_t end = 0;
  // Bytes of command line that it reads, without the terminating zero.
  std::uint64_t cmdline_max = x86::kCmdlineMaxBytes - 1;
  // The highest address that a byte of the initrd may have.
  std::uint64_t initrd_max = 0xffffffff;
  // bzImage only: its setup header, from offset 0x1f1 of the zero page on.
  std::vector<std::byte> setup_header;
};

}  // namespace gemel::boot
