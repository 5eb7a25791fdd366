#include "cli/host_facts.h"

#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/landlock.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "base/file_util.h"
#include "base/unique_fd.h"

namespace gemel::cli {
namespace {

// The first line of a small file; empty if it cannot be read.
std::string FirstLine(const std::string& path) {
  const auto text = ReadTextFile(path);
  if (!text) return "";
  return text->substr(0, text->find('\n'));
}

Attempt TryOpen(const char* path) {
  const UniqueFd fd(open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK));
  return {fd ? 0 : errno};
}

bool HasWord(std::string_view text, std::string_view word) {
  for (std::size_t at = text.find(word); at != std::string_view::npos;
       at = text.find(word, at + 1)) {
    const std::size_t end = at + word.size();
    const bool begins = at == 0 || text[at - 1] == ' ' || text[at - 1] == '\t';
    if (begins && (end == text.size() || text[end] == ' ' || text[end] == '\n')) return true;
  }
  return false;
}

bool IsOn(const std::string& value) { return value == "Y" || value == "1"; }

KvmFacts ReadKvmFacts() {
  KvmFacts kvm;
  kvm.open = TryOpen("/dev/kvm");
  for (const char* name : {"kvm_amd", "kvm_intel", "kvm_pvm"}) {
    if (access((std::string("/sys/module/") + name).c_str(), F_OK) != 0) continue;
    kvm.module = name;
    break;
  }
  const auto cpuinfo = ReadTextFile("/proc/cpuinfo", 64 << 20);
  if (cpuinfo) {
    kvm.cpu_is_amd = HasWord(*cpuinfo, "AuthenticAMD") || HasWord(*cpuinfo, "HygonGenuine");
    kvm.cpu_has_extension = HasWord(*cpuinfo, "svm") || HasWord(*cpuinfo, "vmx");
    kvm.in_virtual_machine = HasWord(*cpuinfo, "hypervisor");
  }
  kvm.nested_paging =
      (kvm.module == "kvm_amd" && IsOn(FirstLine("/sys/module/kvm_amd/parameters/npt"))) ||
      (kvm.module == "kvm_intel" && IsOn(FirstLine("/sys/module/kvm_intel/parameters/ept")));
  return kvm;
}

// "always [madvise] never" -> "madvise"
std::string Chosen(const std::string& words) {
  const std::size_t begin = words.find('[');
  const std::size_t end = words.find(']');
  if (begin == std::string::npos || end == std::string::npos || end < begin) return "";
  return words.substr(begin + 1, end - begin - 1);
}

// As the block engine does it: made disabled, bound to what it needs, then enabled.
void TryIoUring(HostFacts& facts) {
  io_uring_params params{};
  params.flags = IORING_SETUP_R_DISABLED;
  const UniqueFd ring(static_cast<int>(syscall(SYS_io_uring_setup, 1, &params)));
  if (!ring) {
    facts.io_uring.error = facts.io_uring_restrictions.error = errno;
    return;
  }
  io_uring_restriction restriction{};
  restriction.opcode = IORING_RESTRICTION_SQE_OP;
  restriction.sqe_op = IORING_OP_NOP;
  if (syscall(SYS_io_uring_register, ring.get(), IORING_REGISTER_RESTRICTIONS, &restriction, 1) !=
      0)
    facts.io_uring_restrictions.error = errno;
}

int LandlockAbi() {
  const long abi =
      syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  return abi > 0 ? static_cast<int>(abi) : 0;
}

// In a child: there is no way back out of a namespace.
Attempt TryUserNamespace() {
  const pid_t child = fork();
  if (child < 0) return {errno};
  if (child == 0) _exit(unshare(CLONE_NEWUSER) == 0 ? 0 : errno);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return {WIFEXITED(status) ? WEXITSTATUS(status) : ECHILD};
}

}  // namespace

HostFacts ReadHostFacts() {
  HostFacts facts;
  facts.kvm = ReadKvmFacts();
  if (const auto memory = ReadHostMemory()) facts.memory = *memory;
  facts.thp = Chosen(FirstLine("/sys/kernel/mm/transparent_hugepage/enabled"));
  TryIoUring(facts);
  facts.vhost_net = TryOpen("/dev/vhost-net");
  facts.tun = TryOpen("/dev/net/tun");
  facts.landlock_abi = LandlockAbi();
  facts.seccomp = access("/proc/sys/kernel/seccomp/actions_avail", R_OK) == 0;
  facts.user_namespaces = TryUserNamespace();
  // Not opened: that would start it.
  facts.watchdog = access("/dev/watchdog", F_OK) == 0;
  facts.watchdog_identity = FirstLine("/sys/class/watchdog/watchdog0/identity");
  return facts;
}

}  // namespace gemel::cli
