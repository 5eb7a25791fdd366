#include "jail/exit_record.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

#include "jail/text.h"

namespace gemel::jail {
namespace {

constexpr int kNotStarted = 125;

}  // namespace

void WriteRecord(const Shared& shared) {
  Text line;
  if (!shared.ended) {
    line << "failed " << shared.failed_at << ": " << strerrordesc_np(shared.failed_errno);
  } else if (WIFSIGNALED(shared.wait_status)) {
    line << "signal " << WTERMSIG(shared.wait_status);
    if (shared.refused[0] != '\0') line << " " << shared.refused;
  } else {
    line << "exit " << WEXITSTATUS(shared.wait_status);
  }
  line << "\n";
  if (shared.last_words[0] != '\0') line << shared.last_words << "\n";
  [[maybe_unused]] const ssize_t n = write(kStatusFd, line.c_str(), line.size());
  fsync(kStatusFd);  // a pipe says that it cannot
}

void EndAlike(const Shared& shared) {
  if (!shared.ended) _exit(kNotStarted);
  if (!WIFSIGNALED(shared.wait_status)) _exit(WEXITSTATUS(shared.wait_status));
  const rlimit no_core = {0, 0};  // it would be of this process, which is not the one that failed
  setrlimit(RLIMIT_CORE, &no_core);
  const int number = WTERMSIG(shared.wait_status);
  signal(number, SIG_DFL);
  sigset_t only;
  sigemptyset(&only);
  sigaddset(&only, number);
  sigprocmask(SIG_UNBLOCK, &only, nullptr);
  raise(number);
  _exit(128 + number);
}

}  // namespace gemel::jail
