#include "base/check.h"

#include <cstdlib>

#include "base/log.h"

namespace gemel {

void CheckFailed(const char* file, int line, const char* condition) {
  LOG_UNLIMITED(kError, "check", "{}:{}: invariant broken: {}", file, line, condition);
  std::abort();
}

}  // namespace gemel
