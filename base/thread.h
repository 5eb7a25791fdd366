// A named thread whose entry is noexcept: an escaping exception ends the process.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <thread>

#include "base/result.h"

namespace gemel {

// What a thread does, and so what it may ask of the kernel: vmm/sandbox/policy.cc has a column for
// each. A device whose thread talks to something outside picks its own; kWorker is for all others.
enum class ThreadRole : std::uint8_t {
  kMain,    // the process's first thread
  kVcpu,    // runs a guest
  kWorker,  // a device that needs only guest memory and event descriptors
  kDisk,    // reads and writes image files
  kNet,     // moves frames
  kStream,  // moves bytes over sockets and pipes: console channels, vsock
};
inline constexpr std::size_t kThreadRoles = 6;

// Starts `entry` on a thread named `name` (cut to the kernel's 15 characters). The caller joins. The
// thread is confined when this returns, where threads are.
// An error, naming the thread, if the host gives no more threads (ulimit -u, pids.max).
Result<std::thread> StartThread(std::string name, std::function<void()> entry,
                                ThreadRole role = ThreadRole::kWorker);

// Runs first on every thread that is started from here on, to confine it. Set once, before any
// other thread runs; never in a process that wants no sandbox.
void SetThreadConfiner(void (*confine)(ThreadRole role));

}  // namespace gemel
