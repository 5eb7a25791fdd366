// The gemel-vmm process of one VM, as its parent sees it.
#pragma once
#include <sys/types.h>

#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "base/unique_fd.h"
#include "launch/child_process.h"
#include "vmm/config/sandbox_mode.h"

namespace gemel::launch {

// The two programs of a VM's process.
struct VmmPrograms {
  std::string vmm;
  std::string jail;
};

// Beside this executable, else where a build tree has them; $GEMEL_VMM and $GEMEL_JAIL (for tests)
// name others. kNotFound names the places.
Result<VmmPrograms> FindVmm();

// How a process ended.
struct ExitState {
  int status = 0;  // when signal is 0
  int signal = 0;
  // What gemel-jail said: the system call that it was killed for ("openat 257 vcpu-0"), or what
  // kept it from being started. Empty: nothing.
  std::string refused;
  std::string failed;
  // What gemel-vmm said itself, of why it ends (vmm/process/last_words.h): "guest-powered-off".
  std::string last_words;
};

// Takes the parts of an exit record (jail/exit_record.h), which is not to be trusted, into `state`.
void ReadExitRecord(std::string_view record, ExitState& state);

// One that ends with us. Move-only. Killed and reaped when destroyed.
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
  pid_t pid() const { return process_.pid(); }
  // Not reaped yet.
  bool alive() const { return process_.alive(); }
  // Readable once it has ended.
  int pidfd() const { return process_.pidfd(); }
  void Kill() const;
  // Waits for its end.
  ExitState Reap();

 private:
  VmmProcess(ChildProcess process, UniqueFd life, UniqueFd record)
      : process_(std::move(process)), life_(std::move(life)), record_(std::move(record)) {}

  ChildProcess process_;
  UniqueFd life_;    // the jail ends soon after it is closed; empty without a jail
  UniqueFd record_;  // where the jail writes how it ended; the same
};

// One that goes on when we end, and is found again.
struct LastingVmm {
  std::string name;           // shown in the jail's command line, as --vm=<name>
  std::string cgroup;         // an existing folder to join; empty: it makes its own
  UniqueFd control_listener;  // a listening SOCK_SEQPACKET socket for controllers
  UniqueFd exit_record;       // a file; the jail writes how it ended, when all has gone
  UniqueFd log;               // its stderr; empty: ours
  SandboxMode sandbox = SandboxMode::kDefault;
};

// Starts it, always within a jail. The process is the jail's outer one.
Result<ChildProcess> SpawnLastingVmm(const VmmPrograms& programs, LastingVmm vmm);

}  // namespace gemel::launch
