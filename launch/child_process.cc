#include "launch/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>

namespace gemel::launch {
namespace {

constexpr int kFirstFd = 3;
constexpr int kAboveChildFds = 64;

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
  void SetFds(const ChildFds& fds) {
    if (fds.in)
      posix_spawn_file_actions_adddup2(&actions_, fds.in.get(), STDIN_FILENO);
    else
      posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (fds.out)
      posix_spawn_file_actions_adddup2(&actions_, fds.out.get(), STDOUT_FILENO);
    else
      posix_spawn_file_actions_addopen(&actions_, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    if (fds.err) posix_spawn_file_actions_adddup2(&actions_, fds.err.get(), STDERR_FILENO);
    int number = kFirstFd;
    for (const UniqueFd& fd : fds.fds)
      posix_spawn_file_actions_adddup2(&actions_, fd.get(), number++);
    posix_spawn_file_actions_addclosefrom_np(&actions_, number);
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

// Out of the way of the numbers that it and its like get in the child.
Status MoveUp(UniqueFd& fd) {
  if (!fd) return {};
  UniqueFd high(fcntl(fd.get(), F_DUPFD_CLOEXEC, kAboveChildFds));
  if (!high) return ErrnoError(errno, "dup");
  fd = std::move(high);
  return {};
}

}  // namespace

Result<std::string> FindProgram(std::string_view name, std::string_view build_folder,
                                const char* environment) {
  if (const char* forced = std::getenv(environment); forced != nullptr && *forced != '\0')
    return std::string(forced);
  ASSIGN_OR_RETURN(const std::string folder, OwnFolder());
  for (const std::string& path :
       {fmt::format("{}/{}", folder, name), fmt::format("{}/../{}/{}", folder, build_folder, name),
        fmt::format("{}/../libexec/gemel/{}", folder, name)})
    if (access(path.c_str(), X_OK) == 0) return path;
  return MakeError(Code::kNotFound, fmt::format("{}: not found in {} nor {}/../libexec/gemel", name,
                                                folder, folder));
}

Result<ChildProcess> ChildProcess::Spawn(const std::string& path, std::vector<std::string> words,
                                         ChildFds fds) {
  RETURN_IF_ERROR(MoveUp(fds.in));
  RETURN_IF_ERROR(MoveUp(fds.out));
  RETURN_IF_ERROR(MoveUp(fds.err));
  for (UniqueFd& fd : fds.fds) RETURN_IF_ERROR(MoveUp(fd));
  SpawnSettings settings;
  settings.SetFds(fds);
  settings.SetSignals();
  std::vector<char*> arguments;
  arguments.reserve(words.size() + 1);
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_t pid = -1;
  const int error = posix_spawn(&pid, path.c_str(), settings.actions(), settings.attributes(),
                                arguments.data(), environ);
  if (error != 0) return ErrnoError(error, fmt::format("{}: {}", words[0], path));
  // glibc 2.36 declares pidfd_open without extern "C".
  UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  const int pidfd_error = errno;
  if (!pidfd) {
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    return ErrnoError(pidfd_error, "pidfd_open");
  }
  return ChildProcess(pid, std::move(pidfd));
}

void ChildProcess::Signal(int number) const {
  if (pidfd_) kill(pid_, number);  // not reaped: the number is still its own
}

void ChildProcess::KillGroup() const {
  if (pidfd_) kill(-pid_, SIGKILL);
}

int ChildProcess::Reap() {
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pidfd_.Reset();
  return status;
}

ChildProcess::~ChildProcess() {
  if (!pidfd_) return;
  Kill();
  Reap();
}

std::string DescribeEnd(int wait_status) {
  if (!WIFSIGNALED(wait_status))
    return fmt::format("ended with status {}", WEXITSTATUS(wait_status));
  const int signal = WTERMSIG(wait_status);
  return fmt::format("was killed by signal {} ({})", signal, strsignal(signal));
}

}  // namespace gemel::launch
