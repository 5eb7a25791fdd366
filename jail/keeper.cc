#include "jail/keeper.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "jail/identity.h"
#include "jail/namespaces.h"
#include "jail/program_text.h"
#include "jail/raw_call.h"
#include "jail/text.h"

namespace gemel::jail {
namespace {

// gemel-vmm sees the end of its controller by itself and drains its disks, for up to 2 s, and its
// console, for another 2.
constexpr int kGraceMs = 6000;

void BecomeNobody(const Plan& plan, Shared& shared) {
  if (const int error = BecomeUser(plan.user)) shared.layer(Layer::kOwnUser) = error;
}

// In a user namespace the mounts must belong to a user whom it knows. Without one whoever mounts must
// still be root, and so must whoever becomes another.
void GiveUpRights(const Plan& plan, Shared& shared) {
  if (plan.user_namespace) BecomeNobody(plan, shared);
  LeaveTheHost(shared);
  EmptyBoundingSet();
  if (!plan.user_namespace) BecomeNobody(plan, shared);
  shared.layer(Layer::kCapabilities) = DropCapabilities();
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

// "user=0,pid=0,own-user=1": what the program tells its controller.
Text LayersText(const Shared& shared) {
  Text text;
  for (std::size_t i = 0; i < kLayers; ++i)
    text << (i == 0 ? "--jail=" : ",") << kLayerWords[i] << "="
         << static_cast<long>(shared.layers[i]);
  return text;
}

[[noreturn]] void BecomeProgram(const Plan& plan, Shared& shared, int report, pid_t keeper) {
  // Where no pid namespace ends it with the keeper. A keeper that is gone already sent nothing.
  if (!plan.pid_namespace) {
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (getppid() != keeper) _exit(1);
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  dup2(report, kReportFd);  // in the place of kLifeFd; all else of ours is close-on-exec
  Text layers = LayersText(shared);
  Text report_option;
  report_option << "--report-fd=" << kReportFd;
  char** end = plan.arguments;
  while (*end != nullptr) ++end;
  end[0] = const_cast<char*>(layers.c_str());
  end[1] = const_cast<char*>(report_option.c_str());
  end[2] = nullptr;
  char* const no_environment[] = {nullptr};
  syscall(SYS_execveat, plan.program_fd, "", plan.arguments, no_environment, AT_EMPTY_PATH);
  shared.Fail("exec", errno);
  _exit(1);
}

bool BeginsWith(const char* text, const char* word) {
  while (*word != '\0')
    if (*text++ != *word++) return false;
  return true;
}

// What the program says is the program's: two short lines, and printable or not at all. The last of
// each kind counts.
void ReadReport(int report, Shared& shared) {
  char text[512] = {};
  const ssize_t size = read(report, text, sizeof text - 1);
  for (ssize_t i = 0; i < size;) {
    const bool why = BeginsWith(text + i, "ended ");
    char* const line = why ? shared.last_words : shared.refused;
    const ssize_t room = why ? sizeof shared.last_words : sizeof shared.refused;
    ssize_t length = 0;
    for (; i < size && text[i] != '\n'; ++i)
      if (length < room - 1) line[length++] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
    line[length] = '\0';
    ++i;
  }
}

// The program's end, or false: something else has ended (pid 1 inherits orphans).
bool Reap(pid_t program, Shared& shared) {
  int status = 0;
  for (long child; (child = RawCall(SYS_wait4, -1, &status, WNOHANG, nullptr)) > 0;) {
    if (child != program) continue;
    shared.wait_status = status;
    shared.ended = shared.failed_at[0] == '\0';
    return true;
  }
  return false;
}

void WaitFor(const Plan& plan, pid_t program, int signals, Shared& shared) {
  pollfd watched[] = {{signals, POLLIN, 0}, {plan.parent_fd, POLLIN, 0}, {kLifeFd, POLLIN, 0}};
  int timeout = -1;
  while (!Reap(program, shared)) {
    const long ready = RawCall(SYS_poll, watched, 3, timeout, 0);
    if (ready == 0 || watched[1].revents != 0) RawCall(SYS_kill, program, SIGKILL, 0, 0);
    if (ready == 0) timeout = -1;
    if (watched[1].revents != 0) watched[1].fd = -1;
    if (watched[2].revents != 0) {
      watched[2].fd = -1;
      timeout = kGraceMs;
    }
    signalfd_siginfo info;
    if (watched[0].revents != 0) RawCall(SYS_read, signals, &info, sizeof info, 0);
  }
}

}  // namespace

void Keep(const Plan& plan, Shared& shared) {
  prctl(PR_SET_NAME, "gemel-jail", 0, 0, 0);
  char go = 0;
  if (read(plan.parent_fd, &go, 1) != 1) return;
  GiveUpRights(plan, shared);
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);  // the program has our user: it may not look into us
  sigset_t children;
  sigemptyset(&children);
  sigaddset(&children, SIGCHLD);
  const int signals = signalfd(-1, &children, SFD_CLOEXEC);
  int report[2];
  if (signals < 0 || pipe2(report, O_CLOEXEC | O_NONBLOCK) != 0) return shared.Fail("pipe", errno);
  const pid_t keeper = getpid();
  const pid_t program = fork();
  if (program < 0) return shared.Fail("fork", errno);
  if (program == 0) BecomeProgram(plan, shared, report[1], keeper);
  close(report[1]);
  close(plan.program_fd);
  close(kControlFd);  // its peer must see the program's end
  const ProgramText text;
  text.GiveBack();
  WaitFor(plan, program, signals, shared);
  ReadReport(report[0], shared);
}

}  // namespace gemel::jail
