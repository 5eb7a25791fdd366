// What a jail writes as its last to descriptor 5, durably where that is a file:
//   exit 0
//   signal 9
//   signal 31 openat 257 vcpu-0      refused by the program's seccomp filter; its own words
//   failed exec /usr/libexec/gemel/gemel-vmm: Permission denied
// and, if the program has said why it ends, in a second line its own words (which are not to be
// trusted; vmm/process/last_words.h):
//   ended guest-powered-off
#pragma once
#include "jail/shared.h"

namespace gemel::jail {

void WriteRecord(const Shared& shared);

// Ends this process as the program has ended, by the same signal or with the same status; 125 if it
// could not be started.
[[noreturn]] void EndAlike(const Shared& shared);

}  // namespace gemel::jail
