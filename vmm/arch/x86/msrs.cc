#include "vmm/arch/x86/msrs.h"

namespace gemel::x86 {

std::vector<Msr> FirmwareMsrs() {
  constexpr std::uint64_t kFastStrings = 1 << 0;  // SDM vol. 4, table 2-2
  // MTRRs on, all memory write-back. Linux calls disabled MTRRs a firmware bug and maps
  // uncached (SDM vol. 3, 11.11.2.1).
  constexpr std::uint64_t kMtrrEnable = 1 << 11;
  constexpr std::uint64_t kWriteBack = 6;
  return {{kMsrMiscEnable, kFastStrings}, {kMsrMtrrDefaultType, kMtrrEnable | kWriteBack}};
}

}  // namespace gemel::x86
