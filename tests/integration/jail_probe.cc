// Stands in the place of gemel-vmm in a jail and tries what a hostile one would: each word of the
// command line is an attempt, each line of its output "WORD: ok" or "WORD: <errno's name>".
// Linked statically, as the root that it sees is empty.
#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

std::string Outcome(bool good) { return good ? "ok" : strerrorname_np(errno); }

std::string Facts() {
  std::string groups;
  gid_t list[64];
  const int count = getgroups(64, list);
  for (int i = 0; i < count; ++i) groups += std::to_string(list[i]) + ";";
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct caps[2] = {};
  syscall(SYS_capget, &header, caps);
  int bounding = 0;
  for (unsigned long i = 0; i < 41; ++i)
    bounding += prctl(PR_CAPBSET_READ, i, 0, 0, 0) == 1 ? 1 : 0;
  std::string fds;
  for (int fd = 0; fd < 256; ++fd)
    if (fcntl(fd, F_GETFD) >= 0) fds += std::to_string(fd) + ";";
  return "uid=" + std::to_string(getuid()) + " gid=" + std::to_string(getgid()) +
         " groups=" + groups + " pid=" + std::to_string(getpid()) +
         " ppid=" + std::to_string(getppid()) +
         " caps=" + std::to_string(caps[0].permitted | caps[1].permitted | caps[0].effective) +
         " bounding=" + std::to_string(bounding) + " fds=" + fds +
         " nnp=" + std::to_string(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)) +
         " env=" + (environ[0] == nullptr ? "none" : environ[0]);
}

int EntriesOf(const char* path) {
  DIR* const folder = opendir(path);
  if (folder == nullptr) return -1;
  int count = 0;
  while (const dirent* entry = readdir(folder))
    if (entry->d_name[0] != '.') ++count;
  return count;
}

int Interfaces() {
  struct if_nameindex* const all = if_nameindex();
  int count = 0;
  for (auto* at = all; at != nullptr && at->if_index != 0; ++at) ++count;
  return count;
}

// What `word` asks for, as the rest of its line.
std::string Try(const std::string& word) {
  const auto is = [&word](const char* prefix) { return word.starts_with(prefix); };
  const auto rest = [&word](const char* prefix) { return word.substr(std::strlen(prefix)); };
  if (word == "facts") return Facts();
  if (word == "root-entries") return std::to_string(EntriesOf("/"));
  if (word == "interfaces") return std::to_string(Interfaces());
  if (is("open=")) return Outcome(open(rest("open=").c_str(), O_RDONLY) >= 0);
  if (word == "create") return Outcome(open("/gemel-probe", O_CREAT | O_RDWR, 0600) >= 0);
  if (is("signal=")) return Outcome(kill(std::stoi(rest("signal=")), 0) == 0);
  if (is("ptrace="))
    return Outcome(ptrace(PTRACE_SEIZE, std::stoi(rest("ptrace=")), nullptr, nullptr) == 0);
  if (word == "signal-keeper") return Outcome(kill(getppid(), SIGKILL) == 0);
  if (word == "ptrace-keeper")
    return Outcome(ptrace(PTRACE_SEIZE, getppid(), nullptr, nullptr) == 0);
  if (word == "read-keeper") {
    char byte = 0;
    const iovec here = {&byte, 1};
    const iovec there = {&byte, 1};
    return Outcome(process_vm_readv(getppid(), &here, 1, &there, 1, 0) >= 0);
  }
  if (is("abstract=")) {
    sockaddr_un address = {AF_UNIX, {}};
    const std::string name = rest("abstract=");
    std::memcpy(address.sun_path + 1, name.data(), name.size());
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
    return Outcome(connect(fd, reinterpret_cast<sockaddr*>(&address), size) == 0);
  }
  if (word == "mount") return Outcome(mount("none", "/", "tmpfs", 0, nullptr) == 0);
  if (word == "umount") return Outcome(umount2("/", MNT_DETACH) == 0);
  if (word == "chroot") return Outcome(chroot("/") == 0);
  if (word == "sethostname") return Outcome(sethostname("x", 1) == 0);
  if (word == "setuid-root") return Outcome(setuid(0) == 0);
  if (word == "is-pid-1-child") return getppid() == 1 ? "yes" : "no";
  if (word == "orphan") {
    if (fork() == 0) {
      setsid();
      if (fork() != 0) _exit(0);
      for (;;) pause();
    }
    wait(nullptr);
    return "ok";
  }
  if (word == "wait") {
    std::fflush(stdout);
    for (;;) pause();
  }
  if (is("say=")) {
    const std::string text = rest("say=");
    return Outcome(write(4, text.data(), text.size()) >= 0);
  }
  if (is("exit=")) std::exit(std::stoi(rest("exit=")));
  if (is("die=")) {
    std::fflush(stdout);
    signal(std::stoi(rest("die=")), SIG_DFL);
    raise(std::stoi(rest("die=")));
  }
  return word.starts_with("--") ? "option" : "unknown";
}

}  // namespace

int main(int argc, char** argv) {
  prctl(PR_SET_NAME, "jail-probe", 0, 0, 0);
  for (int i = 1; i < argc; ++i) {
    std::printf("%s: %s\n", argv[i], Try(argv[i]).c_str());
    std::fflush(stdout);
  }
  return 0;
}
