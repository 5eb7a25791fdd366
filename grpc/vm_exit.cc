#include "grpc/vm_exit.h"

namespace gemel::daemon {

std::string_view VmExitCauseWord(VmExitCause cause) {
  switch (cause) {
    case VmExitCause::kGuestPoweredOff:
      return "guest-powered-off";
    case VmExitCause::kPoweredOff:
      return "powered-off";
    case VmExitCause::kGuestRebooted:
      return "guest-rebooted";
    case VmExitCause::kGuestPanicked:
      return "guest-panicked";
    case VmExitCause::kTripleFault:
      return "triple-fault";
    case VmExitCause::kCrashed:
      return "crashed";
    case VmExitCause::kRefusedCall:
      return "refused-call";
    case VmExitCause::kKilled:
      return "killed";
    case VmExitCause::kNotStarted:
      return "not-started";
    case VmExitCause::kLost:
      return "lost";
  }
  return "lost";
}

bool IsWanted(VmExitCause cause) {
  return cause == VmExitCause::kGuestPoweredOff || cause == VmExitCause::kPoweredOff ||
         cause == VmExitCause::kGuestRebooted;
}

}  // namespace gemel::daemon
