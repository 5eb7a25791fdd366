#include "jail/shared.h"

#include <sys/mman.h>

#include <cstring>

namespace gemel::jail {

void Shared::Fail(const char* at, int error) {
  std::strncpy(failed_at, at, sizeof failed_at - 1);
  failed_errno = error;
}

Shared* MapShared() {
  // SAFETY: anonymous zeroes, which are a Shared; never unmapped, gone with the last process.
  void* const page =
      mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return page == MAP_FAILED ? nullptr : static_cast<Shared*>(page);
}

}  // namespace gemel::jail
