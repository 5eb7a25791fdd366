#include "keeper/real_time.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <cerrno>
#include <charconv>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/file_util.h"
#include "base/result.h"

namespace gemel::keeper {
namespace {

constexpr int kPriority = 10;

// With a limit, what is locked later (each stack of a thread) could be more than that, and the thread
// would not begin: then nothing is locked.
bool MayLockAll() {
  rlimit limit{};
  if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur == RLIM_INFINITY) return true;
  constexpr std::string_view kName = "CapEff:\t";
  const Result<std::string> status = ReadTextFile("/proc/self/status");
  if (!status) return false;
  const std::size_t at = status->find(kName);
  if (at == status->npos) return false;
  std::uint64_t capabilities = 0;
  const char* const begin = status->data() + at + kName.size();
  std::from_chars(begin, status->data() + status->size(), capabilities, 16);
  return (capabilities >> CAP_IPC_LOCK & 1) != 0;
}

}  // namespace

std::vector<std::string> AskForRealTime() {
  std::vector<std::string> refused;
  // What is mapped now is loaded and stays; of what comes later (stacks are much larger than they are
  // full) only what is touched.
  if (!MayLockAll())
    refused.emplace_back("its memory may be swapped out: RLIMIT_MEMLOCK is not unlimited");
  else if (mlockall(MCL_CURRENT) != 0 || mlockall(MCL_FUTURE | MCL_ONFAULT) != 0)
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
