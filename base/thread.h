// A named thread whose entry is noexcept: an escaping exception ends the process.
#pragma once
#include <functional>
#include <string>
#include <thread>

#include "base/result.h"

namespace gemel {

// Starts `entry` on a thread named `name` (cut to the kernel's 15 characters). The caller joins.
// An error, naming the thread, if the host gives no more threads (ulimit -u, pids.max).
Result<std::thread> StartThread(std::string name, std::function<void()> entry);

}  // namespace gemel
