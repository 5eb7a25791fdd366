// How a VM's process ended, and why, as far as anybody knows.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace gemel::daemon {

enum class VmExitCause : std::uint8_t {
  kGuestPoweredOff,  // the guest switched itself off
  kPoweredOff,       // somebody asked for PowerOff
  kGuestRebooted,    // the guest asked for a reboot and on_reboot is kExit
  kGuestPanicked,    // the guest's kernel said so
  kTripleFault,      // before user space; later ones are reboots (docs/decisions/001)
  kCrashed,          // KVM or a device could not go on
  kRefusedCall,      // the sandbox ended it: `reason` names the system call and the thread
  kKilled,           // by a signal; `signal` says which
  kNotStarted,       // it never ran: `reason` says what was missing
  kLost,             // it is gone and nobody was there to see how (host reboot, jail killed)
};

// "guest-powered-off", "killed", …: for events, logs and tables; never changes.
std::string_view VmExitCauseWord(VmExitCause cause);

struct VmExit {
  VmExitCause cause = VmExitCause::kLost;
  int status = 0;             // of gemel-vmm, if `signal` is 0
  int signal = 0;             // that ended gemel-vmm
  std::string reason;         // one line for people; never empty
  std::int64_t ended_at = 0;  // ns since 1970, of the record; 0: not known
  bool operator==(const VmExit&) const = default;
};

// Whether the guest, or somebody who may, wanted this end: nothing went wrong.
bool IsWanted(VmExitCause cause);

}  // namespace gemel::daemon
