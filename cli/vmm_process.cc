#include "cli/vmm_process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>

namespace gemel::cli {
namespace {

constexpr int kControlFd = 3;

Result<std::string> OwnFolder() {
  char path[PATH_MAX];
  const ssize_t n = readlink("/proc/self/exe", path, sizeof path);
  if (n <= 0 || n == sizeof path) return ErrnoError(errno, "/proc/self/exe");
  const std::string own(path, static_cast<std::size_t>(n));
  return own.substr(0, own.rfind('/'));
}

class SpawnSettings {
 public:
  SpawnSettings() {
    posix_spawn_file_actions_init(&actions_);
    posix_spawnattr_init(&attributes_);
  }
  ~SpawnSettings() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  SpawnSettings(const SpawnSettings&) = delete;
  SpawnSettings& operator=(const SpawnSettings&) = delete;

  // Everything else of ours is close-on-exec, but what our parent left open is not.
  void SetFds(int control) {
    posix_spawn_file_actions_addopen(&actions_, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions_, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&actions_, control, kControlFd);
    posix_spawn_file_actions_addclosefrom_np(&actions_, kControlFd + 1);
  }
  void SetSignals() {
    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setsigdefault(&attributes_, &all);
    posix_spawnattr_setflags(&attributes_,
                             POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
  }
  const posix_spawn_file_actions_t* actions() const { return &actions_; }
  const posix_spawnattr_t* attributes() const { return &attributes_; }

 private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
};

}  // namespace

Result<std::string> FindVmm() {
  if (const char* forced = std::getenv("GEMEL_VMM"); forced != nullptr && *forced != '\0')
    return std::string(forced);
  ASSIGN_OR_RETURN(const std::string folder, OwnFolder());
  for (const char* relative : {"/gemel-vmm", "/../vmm/process/gemel-vmm"})
    if (access((folder + relative).c_str(), X_OK) == 0) return folder + relative;
  return MakeError(Code::kNotFound, fmt::format("gemel-vmm: not found in {}", folder));
}

Result<VmmProcess> VmmProcess::Spawn(const std::string& path, UniqueFd control) {
  SpawnSettings settings;
  settings.SetFds(control.get());
  settings.SetSignals();
  std::string name = "gemel-vmm";
  std::string option = "--control-fd";
  std::string number = std::to_string(kControlFd);
  char* const arguments[] = {name.data(), option.data(), number.data(), nullptr};
  pid_t pid = -1;
  const int error = posix_spawn(&pid, path.c_str(), settings.actions(), settings.attributes(),
                                arguments, environ);
  if (error != 0) return ErrnoError(error, fmt::format("gemel-vmm: {}", path));
  // glibc 2.36 declares pidfd_open without extern "C".
  UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  const int pidfd_error = errno;
  if (!pidfd) {
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    return ErrnoError(pidfd_error, "pidfd_open");
  }
  return VmmProcess(pid, std::move(pidfd));
}

void VmmProcess::Kill() const {
  if (pidfd_) kill(pid_, SIGKILL);  // not reaped: the number is still its own
}

ExitState VmmProcess::Reap() {
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pidfd_.Reset();
  if (WIFSIGNALED(status)) return {0, WTERMSIG(status)};
  return {WEXITSTATUS(status), 0};
}

VmmProcess::~VmmProcess() {
  if (!pidfd_) return;
  Kill();
  Reap();
}

}  // namespace gemel::cli
