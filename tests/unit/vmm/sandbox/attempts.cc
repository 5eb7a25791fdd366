#include "tests/unit/vmm/sandbox/attempts.h"

#include <fcntl.h>
#include <linux/keyctl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <vector>

namespace gemel::sandbox_test {
namespace {

bool Opens(const std::string& path, int flags) {
  return UniqueFd(open(path.c_str(), flags, 0600)).get() >= 0;
}

bool ReapsChild(long pid) {
  if (pid == 0) _exit(0);
  return pid > 0 && waitpid(static_cast<pid_t>(pid), nullptr, 0) == pid;
}

// The result of one entry of the ring.
int Submit(io_uring* ring, const std::function<void(io_uring_sqe*)>& fill) {
  io_uring_sqe* const sqe = io_uring_get_sqe(ring);
  fill(sqe);
  io_uring_cqe* cqe = nullptr;
  if (io_uring_submit(ring) < 0 || io_uring_wait_cqe(ring, &cqe) < 0) return -EIO;
  const int result = cqe->res;
  io_uring_cqe_seen(ring, cqe);
  return result;
}

bool MapsExecutable() {
  // SAFETY: a page of its own, never touched.
  return mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
         MAP_FAILED;
}

bool MakesExecutable() {
  // SAFETY: the same.
  void* const page = mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return page != MAP_FAILED && mprotect(page, 4096, PROT_READ | PROT_EXEC) == 0;
}

// A deadline page is mapped read-only; nothing is mapped otherwise, nor where something is.
bool MapsFile(const Loot& loot, int protection, int flags) {
  // SAFETY: for MAP_FIXED a page of its own; never touched.
  void* const page = mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  void* const at = (flags & MAP_FIXED) != 0 ? page : nullptr;
  // SAFETY: the same.
  return mmap(at, 4096, protection, flags, loot.file.get(), 0) != MAP_FAILED;
}

bool ReadsMemoryOf(const Loot& loot) {
  char stolen[8] = {};
  const iovec here = {stolen, sizeof stolen};
  const iovec there = {const_cast<char*>(loot.secret), sizeof stolen};
  return process_vm_readv(loot.victim, &here, 1, &there, 1, 0) == sizeof stolen;
}

bool Connects(const Loot& loot) {
  sockaddr_un address = {AF_UNIX, {}};
  std::strcpy(address.sun_path + 1, "gemel-sandbox-test");
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + 18);
  // SAFETY: sockaddr_un is a sockaddr by the sockets interface.
  return connect(loot.socket.get(), reinterpret_cast<sockaddr*>(&address), size) == 0;
}

// Where nobody outside sees it.
bool Mounts() {
  if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    return false;
  return mount("none", "/tmp", "tmpfs", 0, nullptr) == 0;
}

bool Executes() {
  char name[] = "true";
  char* const arguments[] = {name, nullptr};
  execv("/bin/true", arguments);
  return false;
}

bool SendsSignalByFile(const Loot& loot) {
  return fcntl(loot.socket.get(), F_SETOWN, loot.victim) == 0;
}

bool KillsByPidfd(const Loot& loot) {
  const UniqueFd fd(static_cast<int>(syscall(SYS_pidfd_open, loot.victim, 0)));
  return fd && syscall(SYS_pidfd_send_signal, fd.get(), SIGURG, nullptr, 0) == 0;
}

const std::vector<Attempt>& All() {
  static const std::vector<Attempt> attempts = {
      {"OpenAFile", false, [](Loot&) { return Opens("/etc/passwd", O_RDONLY); }},
      {"CreateAFile", false,
       [](Loot&) {
         const std::string path = "/tmp/gemel-sandbox-" + std::to_string(syscall(SYS_getpid));
         return Opens(path, O_CREAT | O_EXCL | O_WRONLY) && unlink(path.c_str()) == 0;
       }},
      {"OpenOwnMemory", false, [](Loot&) { return Opens("/proc/self/mem", O_RDWR); }},
      {"OpenMemoryOfAnother", false,
       [](Loot& l) { return Opens("/proc/" + std::to_string(l.victim) + "/mem", O_RDONLY); }},
      {"ReopenByNumber", false,
       [](Loot& l) { return Opens("/proc/self/fd/" + std::to_string(l.file.get()), O_RDONLY); }},
      {"RemoveAFile", false,
       [](Loot&) { return unlink("/tmp/gemel-none") == 0 || errno == ENOENT; }},
      {"InternetSocket", false,
       [](Loot&) { return UniqueFd(socket(AF_INET, SOCK_STREAM, 0)).get() >= 0; }},
      {"UnixSocket", false,
       [](Loot&) { return UniqueFd(socket(AF_UNIX, SOCK_STREAM, 0)).get() >= 0; }},
      {"ConnectASocketThatItHas", false, [](Loot& l) { return Connects(l); }},
      {"NewRing", false,
       [](Loot&) {
         io_uring ring{};
         return io_uring_queue_init(4, &ring, 0) == 0;
       }},
      {"RegisterWithARing", false,
       [](Loot& l) {
         const int event = l.event.get();
         return io_uring_register_eventfd(l.uring(), event) == 0;
       }},
      {"OpenAFileThroughARing", false,
       [](Loot& l) {
         return Submit(l.uring(), [](io_uring_sqe* sqe) {
                  io_uring_prep_openat(sqe, AT_FDCWD, "/etc/passwd", O_RDONLY, 0);
                }) >= 0;
       }},
      {"SocketThroughARing", false,
       [](Loot& l) {
         return Submit(l.uring(), [](io_uring_sqe* sqe) {
                  constexpr std::uint8_t kSocket =
                      45;  // IORING_OP_SOCKET; liburing 2.3 knows it not
                  io_uring_prep_rw(kSocket, sqe, AF_INET, nullptr, 0, SOCK_STREAM);
                }) >= 0;
       }},
      {"Fork", false, [](Loot&) { return ReapsChild(fork()); }},
      {"Clone3", false,
       [](Loot&) {
         std::uint64_t arguments[8] = {0, 0, 0, 0, SIGCHLD, 0, 0, 0};
         return ReapsChild(syscall(SYS_clone3, arguments, sizeof arguments));
       }},
      {"Execute", false, [](Loot&) { return Executes(); }},
      {"Ptrace", false,
       [](Loot& l) { return ptrace(PTRACE_SEIZE, l.victim, nullptr, nullptr) == 0; }},
      {"ReadMemoryOfAnother", false, [](Loot& l) { return ReadsMemoryOf(l); }},
      {"SignalTheParent", false, [](Loot& l) { return kill(l.victim, SIGURG) == 0; }},
      {"SignalAThreadOfTheParent", false,
       [](Loot& l) { return syscall(SYS_tgkill, l.victim, l.victim, SIGURG) == 0; }},
      {"SignalByPidfd", false, [](Loot& l) { return KillsByPidfd(l); }},
      {"SignalByFileOwner", false, [](Loot& l) { return SendsSignalByFile(l); }},
      {"Mount", true, [](Loot&) { return Mounts(); }},
      {"EnterANamespace", true,
       [](Loot& l) { return setns(l.foreign_network.get(), CLONE_NEWNET) == 0; }},
      {"NewNamespace", true, [](Loot&) { return unshare(CLONE_NEWNET) == 0; }},
      {"ChangeRoot", true, [](Loot&) { return chroot("/") == 0; }},
      {"ChangeUser", true, [](Loot&) { return syscall(SYS_setuid, 1) == 0; }},
      {"MapExecutable", false, [](Loot&) { return MapsExecutable(); }},
      {"MapAFileForWriting", false,
       [](Loot& l) { return MapsFile(l, PROT_READ | PROT_WRITE, MAP_SHARED); }},
      {"MapAFileInThePlaceOfMemory", false,
       [](Loot& l) { return MapsFile(l, PROT_READ, MAP_SHARED | MAP_FIXED); }},
      {"MapAFileOfItsOwn", false, [](Loot& l) { return MapsFile(l, PROT_READ, MAP_PRIVATE); }},
      {"MakeATimer", false,
       [](Loot&) {
         timer_t timer{};
         return syscall(SYS_timer_create, CLOCK_BOOTTIME, nullptr, &timer) == 0;
       }},
      {"MakeExecutable", false, [](Loot&) { return MakesExecutable(); }},
      {"ReadAKeyring", false,
       [](Loot&) {
         return syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0) >= 0;
       }},
      {"NewSignalHandler", false, [](Loot&) { return signal(SIGSYS, SIG_IGN) != SIG_ERR; }},
      {"ChangeItself", false,
       [](Loot&) { return syscall(SYS_prctl, 1 /* PR_SET_PDEATHSIG */, 0, 0, 0, 0) == 0; }},
      {"IoctlOfATerminal", false,
       [](Loot& l) {
         int waiting = 0;
         return ioctl(l.terminal.get(), FIONREAD, &waiting) == 0;
       }},
  };
  return attempts;
}

}  // namespace

std::span<const Attempt> Attempts() { return All(); }

}  // namespace gemel::sandbox_test
