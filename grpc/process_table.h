// The jails among this host's processes, found by the --vm= of their command lines: nobody needs to
// have written their numbers down, so a daemon that was killed at any moment loses none.
#pragma once
#include <sys/types.h>

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace gemel::daemon {

struct JailProcess {
  pid_t outer = -1;
  pid_t keeper = -1;  // within; -1: not there (yet)
};

// Jails whose name begins with `prefix`, by name. Reads all of /proc, without waiting.
std::map<std::string, JailProcess> FindJails(std::string_view prefix);

// The name that a process was started with as a jail; none if it is no jail, or gone.
std::optional<std::string> JailName(pid_t pid);

// The gemel-vmm inside a jail; -1 if it is not there.
pid_t VmmOf(pid_t jail);

Result<UniqueFd> OpenPidfd(pid_t pid);
// True if it was sent.
bool SendSignal(const UniqueFd& pidfd, int signal);
// Whether the process has ended (a child may still be there to be reaped).
bool HasEnded(const UniqueFd& pidfd);

}  // namespace gemel::daemon
