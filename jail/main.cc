// gemel-jail: starts gemel-vmm behind walls, stays until it ends, and tells how. Started by `gemel
// run` or the daemon, never by hand:
//
//   gemel-jail [--vm=NAME] [--cgroup=FOLDER] PROGRAM ARGUMENT...     descriptors 3 to 5: shared.h
//
// NAME is for whoever looks for it among the processes. In FOLDER, a cgroup, it joins its caller's
// arrangements; without, it makes a group of its own.
//
// Two processes stay: this one outside, which knows the host, and the keeper inside. SIGTERM to the
// outer one kills the program; so does the end of either. It takes what walls it can get: the
// program is told which (`--jail=`), and refuses to run if it must have all.
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <initializer_list>

#include "jail/cgroup.h"
#include "jail/exit_record.h"
#include "jail/identity.h"
#include "jail/keeper.h"
#include "jail/program_text.h"
#include "jail/raw_call.h"
#include "jail/shared.h"

namespace gemel::jail {
namespace {

constexpr int kFirstForeignFd = 6;
constexpr int kMostArguments = 32;

// What our caller left open is none of the program's business; what it meant for us stays ours.
void CloseForeignFds() {
  if (syscall(SYS_close_range, kFirstForeignFd, ~0u, 0u) != 0)
    for (int fd = kFirstForeignFd; fd < 4096; ++fd) close(fd);
  for (const int fd : {kLifeFd, kStatusFd}) fcntl(fd, F_SETFD, FD_CLOEXEC);
}

sigset_t BlockSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGQUIT}) {
    sigaddset(&set, number);
    signal(number, SIG_DFL);
  }
  sigprocmask(SIG_SETMASK, &set, nullptr);
  signal(SIGPIPE, SIG_IGN);
  return set;
}

struct Pipe {
  int reading = -1, writing = -1;
  bool Open() {
    int ends[2] = {-1, -1};
    const bool good = pipe2(ends, O_CLOEXEC) == 0;
    reading = ends[0];
    writing = ends[1];
    return good;
  }
};

// As fork, into new namespaces and, if it can be done at once, into the cgroup.
pid_t Clone(int flags, int cgroup, bool* in_cgroup) {
  if (cgroup >= 0) {
    clone_args arguments{};
    arguments.flags = static_cast<unsigned>(flags) | CLONE_INTO_CGROUP;
    arguments.exit_signal = SIGCHLD;
    arguments.cgroup = static_cast<unsigned>(cgroup);
    const long pid = syscall(SYS_clone3, &arguments, sizeof arguments);
    *in_cgroup = pid >= 0;
    if (pid >= 0) return static_cast<pid_t>(pid);
  }
  return static_cast<pid_t>(syscall(SYS_clone, flags | SIGCHLD, nullptr, nullptr, nullptr, 0));
}

// Where root has no user namespace the others are still there; where a user has none, none is.
// Returns outside; -1 with `shared` saying why.
pid_t StartKeeper(Plan plan, const Pipe& parent, const Cgroup& cgroup, Shared& shared) {
  constexpr int kKinds[] = {CLONE_NEWUSER | CLONE_NEWPID, CLONE_NEWPID, 0};
  int error = 0;
  for (const int kind : kKinds) {
    plan.user_namespace = (kind & CLONE_NEWUSER) != 0;
    plan.pid_namespace = (kind & CLONE_NEWPID) != 0;
    bool in_cgroup = false;
    const pid_t keeper = Clone(kind, cgroup.fd(), &in_cgroup);
    if (keeper == 0) {
      close(parent.writing);
      Keep(plan, shared);
      _exit(0);
    }
    error = keeper < 0 ? errno : 0;
    if (error == 0 && plan.user_namespace) error = MapUser(keeper, plan.user);
    if (error == 0) {
      if (cgroup.fd() >= 0 && !in_cgroup) shared.layer(Layer::kCgroup) = cgroup.Add(keeper);
      return keeper;
    }
    if (keeper > 0) {
      kill(keeper, SIGKILL);
      waitpid(keeper, nullptr, 0);
    }
    shared.layer(plan.user_namespace ? Layer::kUser : Layer::kPid) = error;
  }
  shared.Fail("clone", error);
  return -1;
}

// A keeper that says nothing of the program's end was killed, and the program with it.
void WaitForKeeper(pid_t keeper, const sigset_t& signals, Shared& shared) {
  constexpr std::size_t kKernelSetBytes = 8;
  const ProgramText text;
  text.GiveBack();
  int status = 0;
  while (RawCall(SYS_wait4, keeper, &status, WNOHANG, nullptr) == 0) {
    const long number = RawCall(SYS_rt_sigtimedwait, &signals, nullptr, nullptr, kKernelSetBytes);
    if (number > 0 && number != SIGCHLD) RawCall(SYS_kill, keeper, SIGKILL, 0, 0);
  }
  if (shared.ended || shared.failed_at[0] != '\0') return;
  shared.ended = true;
  shared.wait_status = status;
}

// Returns in the outer process, at the end.
void Run(Plan plan, const sigset_t& signals, Shared& shared) {
  Pipe parent;
  if (!parent.Open()) return shared.Fail("pipe", errno);
  plan.parent_fd = parent.reading;
  plan.program_fd = open(plan.path, O_PATH | O_CLOEXEC);
  if (plan.program_fd < 0) return shared.Fail(plan.path, errno);
  plan.user = ChooseUser();
  if (geteuid() != 0) shared.layer(Layer::kOwnUser) = EPERM;
  Cgroup cgroup;
  shared.layer(Layer::kCgroup) =
      plan.cgroup != nullptr ? cgroup.Join(plan.cgroup) : cgroup.Create();
  const pid_t keeper = StartKeeper(plan, parent, cgroup, shared);
  if (keeper < 0) return cgroup.Remove();
  for (const int fd : {parent.reading, plan.program_fd, kControlFd, kLifeFd}) close(fd);
  const char go = 'g';
  [[maybe_unused]] const ssize_t n = write(parent.writing, &go, 1);
  WaitForKeeper(keeper, signals, shared);
  cgroup.Remove();
}

bool HaveOurFds() {
  for (const int fd : {kControlFd, kLifeFd, kStatusFd})
    if (fcntl(fd, F_GETFD) < 0) return false;
  return true;
}

// Takes our own words off the front.
void TakeOptions(int& argc, char**& argv, Plan& plan) {
  for (; argc > 2 && argv[1][0] == '-'; --argc, ++argv)
    if (std::strncmp(argv[1], "--cgroup=", 9) == 0) plan.cgroup = argv[1] + 9;
}

int Main(int argc, char** argv) {
  Plan plan;
  TakeOptions(argc, argv, plan);
  if (argc < 2 || argc > kMostArguments || !HaveOurFds()) {
    static constexpr char kUsage[] = "gemel-jail: started by gemel, not by hand\n";
    [[maybe_unused]] const ssize_t n = write(STDERR_FILENO, kUsage, sizeof kUsage - 1);
    return 2;
  }
  CloseForeignFds();
  const sigset_t signals = BlockSignals();
  Shared* const shared = MapShared();
  if (shared == nullptr) return 125;
  char* arguments[kMostArguments + 3] = {};
  for (int i = 1; i < argc; ++i) arguments[i - 1] = argv[i];
  plan.path = argv[1];
  plan.arguments = arguments;
  Run(plan, signals, *shared);
  WriteRecord(*shared);
  EndAlike(*shared);
}

}  // namespace
}  // namespace gemel::jail

int main(int argc, char** argv) { return gemel::jail::Main(argc, argv); }
