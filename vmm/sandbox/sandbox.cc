#include "vmm/sandbox/sandbox.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "base/check.h"
#include "vmm/sandbox/landlock.h"
#include "vmm/sandbox/policy.h"

namespace gemel::sandbox {
namespace {

#include "vmm/sandbox/filters.inc"

static_assert(std::size(kFilters) == kThreadRoles);
constexpr std::size_t kMaxSteps = 512;

bool have_seccomp = false;
int report_to = -1;
// Read by the handler, which may not ask the kernel.
thread_local std::array<char, 16> thread_name{};

// ---- what a refused call says last ---------------------------------------------------------------
// In a signal handler, on a thread that may be hostile: no allocation, no lock, nothing trusted.

class Line {
 public:
  void Add(std::string_view text) {
    for (const char c : text)
      if (size_ < bytes_.size()) bytes_[size_++] = c;
  }
  void Add(unsigned number) {
    std::array<char, 10> digits{};
    std::size_t at = digits.size();
    do {
      digits[--at] = static_cast<char>('0' + number % 10);
      number /= 10;
    } while (number != 0);
    Add(std::string_view(digits.data() + at, digits.size() - at));
  }
  std::string_view text() const { return {bytes_.data(), size_}; }

 private:
  std::array<char, 96> bytes_{};
  std::size_t size_ = 0;
};

std::string_view NameOf(unsigned number) {
  const char* at = kNames;
  const char* const end = kNames + sizeof kNames - 1;
  for (unsigned i = 0; i < number && at < end; ++i) at += std::strlen(at) + 1;
  return at < end && *at != '\0' ? std::string_view(at) : "unknown";
}

void OnRefused(int, siginfo_t* info, void*) {
  Line line;
  const auto number = static_cast<unsigned>(info->si_syscall);
  line.Add(NameOf(number));
  line.Add(" ");
  line.Add(number);
  line.Add(" ");
  line.Add(std::string_view(thread_name.data(), strnlen(thread_name.data(), thread_name.size())));
  line.Add("\n");
  [[maybe_unused]] const ssize_t n = write(report_to, line.text().data(), line.text().size());
  syscall(kFatalSyscall);  // does not return: SIGSYS, the whole process
  _exit(1);
}

void InstallHandler() {
  struct sigaction action{};
  action.sa_sigaction = OnRefused;
  action.sa_flags = SA_SIGINFO;
  sigfillset(&action.sa_mask);
  CHECK(sigaction(SIGSYS, &action, nullptr) == 0);
}

SandboxLayer FindSeccomp() {
  std::uint32_t action = SECCOMP_RET_KILL_PROCESS;
  have_seccomp = syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0u, &action) == 0;
  return {"seccomp", have_seccomp, have_seccomp ? "" : std::strerror(errno)};
}

}  // namespace

std::vector<SandboxLayer> ConfineProcess(int report_fd) {
  report_to = report_fd;
  const bool confined = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
  std::vector<SandboxLayer> layers = {
      {"no new privileges", confined, confined ? "" : std::strerror(errno)}};
  layers.push_back(EnterLandlock());
  layers.push_back(FindSeccomp());
  if (have_seccomp) {
    InstallHandler();
    SetThreadConfiner(ConfineThread);
  }
  return layers;
}

void ConfineThread(ThreadRole role) {
  if (!have_seccomp) return;
  prctl(PR_GET_NAME, thread_name.data());
  const std::span<const sock_filter> made = kFilters[static_cast<std::size_t>(role)];
  std::array<sock_filter, kMaxSteps> code;
  CHECK(made.size() <= code.size());
  const auto own = static_cast<std::uint32_t>(getpid());
  for (std::size_t i = 0; i < made.size(); ++i) {
    code[i] = made[i];
    if (code[i].k == kOwnProcess) code[i].k = own;
  }
  const sock_fprog program = {static_cast<unsigned short>(made.size()), code.data()};
  CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0u, &program) == 0);
}

}  // namespace gemel::sandbox
