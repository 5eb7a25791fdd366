// The gemel-vmm process of one VM, as its parent sees it.
#pragma once
#include <sys/types.h>

#include <optional>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "vmm/control/control_channel.h"

namespace gemel::cli {

// Where gemel-vmm is: $GEMEL_VMM (for tests), else beside this executable, else where a build tree
// has it. kNotFound names the places.
Result<std::string> FindVmm();

// How a process ended.
struct ExitState {
  int status = 0;  // when signal is 0
  int signal = 0;
};

// Move-only. Killed and reaped when destroyed.
class VmmProcess {
 public:
  // Starts `path` in a session of its own (the terminal's signals are not for it) with the control
  // socket as descriptor 3, our stderr, and nothing else of ours.
  static Result<VmmProcess> Spawn(const std::string& path, UniqueFd control);
  VmmProcess(VmmProcess&&) = default;
  VmmProcess& operator=(VmmProcess&&) = delete;
  ~VmmProcess();

  pid_t pid() const { return pid_; }
  // Not reaped yet.
  bool alive() const { return static_cast<bool>(pidfd_); }
  // Readable once it has ended.
  int pidfd() const { return pidfd_.get(); }
  void Kill() const;
  // Waits for its end.
  ExitState Reap();

 private:
  VmmProcess(pid_t pid, UniqueFd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}

  pid_t pid_;
  UniqueFd pidfd_;  // empty once reaped
};

}  // namespace gemel::cli
