// Measures what a VMM costs before its guest runs, from outside and alike for every VMM.
//
//   start_probe run COMMAND...     runs COMMAND to the first KVM_RUN of a process it starts, kills it
//                                  there and prints one line of JSON
//   start_probe copy FILE...       reads each FILE with one pread into fresh anonymous memory with
//                                  transparent huge pages and prints the CPU time of that
//
// How: a seccomp filter stops the tracee (ptrace) at KVM_RUN and at reads of 64 KiB and more; CPU
// time is the process's own CPU clock. Nothing else stops it but thread and process creation. The
// clock of the process that calls KVM_RUN counts from its fork, so execve is in it.
#include <fcntl.h>
#include <fmt/core.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <map>
#include <set>
#include <span>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace gemel {
namespace {

constexpr std::uint32_t kKvmRun = 0xae80;
constexpr std::uint32_t kLargeRead = 64 << 10;
constexpr std::uint16_t kAtKvmRun = 1, kAtRead = 2;  // SECCOMP_RET_DATA of the filter

// ---- the traced child ---------------------------------------------------------------------------

int InstallFilter() {
  constexpr std::uint32_t kNr = offsetof(seccomp_data, nr);
  constexpr std::uint32_t kArg1 = offsetof(seccomp_data, args[1]);
  constexpr std::uint32_t kArg2 = offsetof(seccomp_data, args[2]);
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kNr),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kArg1),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kKvmRun, 0, 5),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE | kAtKvmRun),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pread64, 1, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_read, 0, 2),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kArg2),
      BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, kLargeRead, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE | kAtRead),
  };
  const sock_fprog program = {.len = std::size(code), .filter = code};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
  return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

[[noreturn]] void BeTracee(char** argv) {
  if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) == 0 && raise(SIGSTOP) == 0 &&
      InstallFilter() == 0)
    execvp(argv[0], argv);
  std::perror(argv[0]);
  _exit(127);
}

// ---- the tracer ---------------------------------------------------------------------------------

pid_t ProcessOf(pid_t thread) {
  std::ifstream status(fmt::format("/proc/{}/status", thread));
  std::string key;
  for (pid_t value = 0; status >> key;)
    if (key == "Tgid:" && status >> value) return value;
  return thread;
}

double MilliSeconds(const timespec& time) {
  return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_nsec) / 1e6;
}

double CpuOf(pid_t process) {
  clockid_t clock = 0;
  timespec time = {};
  if (clock_getcpuclockid(process, &clock) != 0 || clock_gettime(clock, &time) != 0) return 0;
  return MilliSeconds(time);
}

double Now(clockid_t clock) {
  timespec time = {};
  clock_gettime(clock, &time);
  return MilliSeconds(time);
}

// What a large read of one thread costs, between its two stops.
struct Copies {
  double cpu_ms = 0;
  std::uint64_t bytes = 0;
};

class Tracer {
 public:
  explicit Tracer(pid_t child) : child_(child), started_ms_(Now(CLOCK_MONOTONIC)) {}

  // Until KVM_RUN (0), or until nothing is left to trace (1).
  int Run();

 private:
  bool Handle(pid_t thread, int status);
  void FinishRead(pid_t thread);
  void Report(pid_t thread);

  pid_t child_;
  double started_ms_;
  std::set<pid_t> processes_;
  std::map<pid_t, double> reads_;   // thread -> its process's CPU time as a large read began
  std::map<pid_t, Copies> copies_;  // by process
};

int Tracer::Run() {
  int status = 0;
  for (pid_t thread; (thread = waitpid(-1, &status, __WALL)) > 0;) {
    if (!WIFSTOPPED(status)) {
      if (thread == child_) return 1;
      continue;
    }
    if (Handle(thread, status)) {
      for (const pid_t process : processes_) kill(process, SIGKILL);
      return 0;
    }
  }
  return 1;
}

// True at KVM_RUN.
bool Tracer::Handle(pid_t thread, int status) {
  const int event = status >> 16;
  const int number = WSTOPSIG(status);
  processes_.insert(ProcessOf(thread));
  long pass_on = 0;
  auto how = PTRACE_CONT;
  if (event == PTRACE_EVENT_SECCOMP) {
    unsigned long data = 0;
    ptrace(PTRACE_GETEVENTMSG, thread, nullptr, &data);
    if (data == kAtKvmRun) {
      Report(thread);
      return true;
    }
    reads_[thread] = CpuOf(ProcessOf(thread));
    how = PTRACE_SYSCALL;
  } else if (number == (SIGTRAP | 0x80)) {
    FinishRead(thread);
  } else if (event == 0 && number != SIGSTOP && number != SIGTRAP) {
    pass_on = number;
  }
  ptrace(how, thread, nullptr, pass_on);
  return false;
}

void Tracer::FinishRead(pid_t thread) {
  const auto begun = reads_.find(thread);
  if (begun == reads_.end()) return;
  const pid_t process = ProcessOf(thread);
  user_regs_struct registers = {};
  ptrace(PTRACE_GETREGS, thread, nullptr, &registers);
  const auto result = static_cast<std::int64_t>(registers.rax);
  if (result > 0) copies_[process].bytes += static_cast<std::uint64_t>(result);
  copies_[process].cpu_ms += CpuOf(process) - begun->second;
  reads_.erase(begun);
}

void Tracer::Report(pid_t thread) {
  const pid_t vmm = ProcessOf(thread);
  double others = 0;
  for (const pid_t process : processes_)
    if (process != vmm) others += CpuOf(process);
  fmt::print(
      "{{\"vmm_cpu_ms\": {:.3f}, \"copy_cpu_ms\": {:.3f}, \"copy_bytes\": {}, "
      "\"other_cpu_ms\": {:.3f}, \"wall_ms\": {:.3f}}}\n",
      CpuOf(vmm), copies_[vmm].cpu_ms, copies_[vmm].bytes, others,
      Now(CLOCK_MONOTONIC) - started_ms_);
}

int RunVerb(char** argv) {
  const pid_t child = fork();
  if (child == 0) BeTracee(argv);
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child || !WIFSTOPPED(status)) return 1;
  constexpr long kOptions = PTRACE_O_TRACESECCOMP | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK |
                            PTRACE_O_TRACEVFORK | PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL;
  ptrace(PTRACE_SETOPTIONS, child, nullptr, kOptions);
  ptrace(PTRACE_CONT, child, nullptr, 0L);
  return Tracer(child).Run();
}

// ---- the reference copy -------------------------------------------------------------------------

// One file into memory that nobody has touched; its CPU time in milliseconds.
Result<double> CopyOf(const char* path) {
  const UniqueFd file(open(path, O_RDONLY | O_CLOEXEC));
  struct stat facts = {};
  if (!file || fstat(file.get(), &facts) != 0) return InvalidArgument("{}: cannot read", path);
  constexpr std::size_t kHugePage = 2 << 20;
  const auto size = static_cast<std::size_t>(facts.st_size);
  const std::size_t mapped = size + 2 * kHugePage;
  // SAFETY: private anonymous memory that only the pread below writes; unmapped at the end.
  void* map = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (map == MAP_FAILED) return InvalidArgument("{}: no memory for {} bytes", path, mapped);
  madvise(map, mapped, MADV_HUGEPAGE);
  // SAFETY: the next huge page's start lies within the mapping, which is two of them longer.
  auto* start = static_cast<char*>(map);
  start += kHugePage - reinterpret_cast<std::uintptr_t>(start) % kHugePage;
  const double before = Now(CLOCK_PROCESS_CPUTIME_ID);
  const ssize_t done = pread(file.get(), start, size, 0);
  const double after = Now(CLOCK_PROCESS_CPUTIME_ID);
  munmap(map, mapped);
  if (done != static_cast<ssize_t>(size)) return InvalidArgument("{}: short read", path);
  return after - before;
}

int CopyVerb(std::span<char*> files) {
  double total = 0;
  for (const char* path : files) {
    const Result<double> time = CopyOf(path);
    if (!time) {
      fmt::print(stderr, "start_probe: {}\n", time.error().message);
      return 1;
    }
    total += *time;
  }
  fmt::print("{{\"copy_cpu_ms\": {:.3f}}}\n", total);
  return 0;
}

}  // namespace
}  // namespace gemel

int main(int argc, char** argv) {
  const std::string_view verb = argc > 2 ? argv[1] : "";
  if (verb == "run") return gemel::RunVerb(argv + 2);
  if (verb == "copy") return gemel::CopyVerb({argv + 2, static_cast<std::size_t>(argc - 2)});
  fmt::print(stderr, "usage: start_probe run COMMAND... | start_probe copy FILE...\n");
  return 2;
}
