// One daemon a folder: two on one run folder would take machines from each other.
#pragma once
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace gemel::daemon {

// Locks `<folder>/lock` and writes this process's number into it, for whoever comes second. The lock
// ends with the process, however it ends. A daemon that was killed may have left a child between
// fork and exec, which has it for a moment more: so this waits up to `patience_ms`, and is then
// kFailedPrecondition, naming the folder's lock and the process that has it.
Result<UniqueFd> LockFolder(const std::string& folder, int patience_ms = 3000);

}  // namespace gemel::daemon
