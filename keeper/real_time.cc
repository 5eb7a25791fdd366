#include "keeper/real_time.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>

#include <cerrno>
#include <span>
#include <string_view>

#include "base/file_util.h"
#include "base/result.h"

namespace gemel::keeper {
namespace {

constexpr int kPriority = 10;

}  // namespace

std::vector<std::string> AskForRealTime() {
  std::vector<std::string> refused;
  // What is mapped now is loaded and stays; of what comes later (stacks are much larger than they are
  // full) only what is touched.
  if (mlockall(MCL_CURRENT) != 0 || mlockall(MCL_FUTURE | MCL_ONFAULT) != 0)
    refused.push_back(ErrnoError(errno, "its memory may be swapped out: mlockall").error().message);
  const sched_param parameters{.sched_priority = kPriority};
  if (sched_setscheduler(0, SCHED_RR, &parameters) != 0)
    refused.push_back(ErrnoError(errno, "other programs may hold it up: SCHED_RR").error().message);
  const Result<UniqueFd> fd = OpenFile("/proc/self/oom_score_adj", O_WRONLY);
  constexpr std::string_view kNever = "-1000";
  if (!fd || !WriteAll(fd->get(), std::as_bytes(std::span(kNever))))
    refused.emplace_back("the kernel may kill it when memory is short: oom_score_adj");
  return refused;
}

void LeaveRealTime() {
  const sched_param parameters{.sched_priority = 0};
  static_cast<void>(sched_setscheduler(0, SCHED_OTHER, &parameters));  // 0: this thread
}

}  // namespace gemel::keeper
