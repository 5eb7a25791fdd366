// The gemel-vmm process of one VM, as its parent sees it.
#pragma once
#include <sys/types.h>

#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"
#include "vmm/config/sandbox_mode.h"

namespace gemel::cli {

// The two programs of a VM's process.
struct VmmPrograms {
  std::string vmm;
  std::string jail;
};

// Beside this executable, else where a build tree has them; $GEMEL_VMM (for tests) names another
// gemel-vmm. kNotFound names the places.
Result<VmmPrograms> FindVmm();

// How a process ended.
struct ExitState {
  int status = 0;  // when signal is 0
  int signal = 0;
  // What gemel-jail said: the system call that it was killed for ("openat 257 vcpu-0"), or what
  // kept it from being started. Empty: nothing.
  std::string refused;
  std::string failed;
};

// Takes the parts of an exit record (jail/exit_record.h), which is not to be trusted, into `state`.
void ReadExitRecord(std::string_view record, ExitState& state);

// Move-only. Killed and reaped when destroyed.
class VmmProcess {
 public:
  // Starts gemel-vmm in a session of its own (the terminal's signals are not for it) with the
  // control socket as descriptor 3, our stderr, and nothing else of ours; within a jail, which ends
  // with us, unless `sandbox` is kOff.
  static Result<VmmProcess> Spawn(const VmmPrograms& programs, SandboxMode sandbox,
                                  UniqueFd control);
  VmmProcess(VmmProcess&&) = default;
  VmmProcess& operator=(VmmProcess&&) = delete;
  ~VmmProcess();

  // Of the jail, if there is one.
  pid_t pid() const { return pid_; }
  // Not reaped yet.
  bool alive() const { return static_cast<bool>(pidfd_); }
  // Readable once it has ended.
  int pidfd() const { return pidfd_.get(); }
  void Kill() const;
  // Waits for its end.
  ExitState Reap();

 private:
  VmmProcess() = default;

  pid_t pid_ = -1;
  UniqueFd pidfd_;   // empty once reaped
  UniqueFd life_;    // the jail ends soon after it is closed; empty without a jail
  UniqueFd record_;  // where the jail writes how it ended; the same
};

}  // namespace gemel::cli
