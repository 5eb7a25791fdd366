// CHECK(condition): ends the process, naming the place, when an invariant of our own code is
// broken. Never for anything a guest, a file, a peer or a user can cause; those get an error value.
#pragma once

namespace gemel {
[[noreturn]] void CheckFailed(const char* file, int line, const char* condition);
}  // namespace gemel

#define CHECK(condition)                             \
  (__builtin_expect(static_cast<bool>(condition), 1) \
       ? static_cast<void>(0)                        \
       : ::gemel::CheckFailed(__FILE__, __LINE__, #condition))
