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
#include <utility>
#include <vector>

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

// In the order of their numbers in the child, from 3 on.
using ChildFds = std::vector<UniqueFd>;

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
    posix_spawn_file_actions_addopen(&actions_, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions_, 1, "/dev/null", O_WRONLY, 0);
    int number = kControlFd;
    for (const UniqueFd& fd : fds) posix_spawn_file_actions_adddup2(&actions_, fd.get(), number++);
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
Status Add(ChildFds& fds, const UniqueFd& fd) {
  constexpr int kAbove = 16;
  UniqueFd high(fcntl(fd.get(), F_DUPFD_CLOEXEC, kAbove));
  if (!high) return ErrnoError(errno, "start gemel-vmm: dup");
  fds.push_back(std::move(high));
  return {};
}

Result<pid_t> Start(const std::string& path, std::vector<std::string> words, const ChildFds& fds) {
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
  return pid;
}

struct Pipe {
  UniqueFd reading, writing;
};

Result<Pipe> MakePipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return ErrnoError(errno, "start gemel-vmm: pipe");
  return Pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

Result<std::string> FindProgram(const std::string& folder, std::string_view name,
                                std::string_view in_build_tree) {
  for (const std::string& path : {fmt::format("{}/{}", folder, name),
                                  fmt::format("{}/../{}/{}", folder, in_build_tree, name)})
    if (access(path.c_str(), X_OK) == 0) return path;
  return MakeError(Code::kNotFound, fmt::format("{}: not found in {}", name, folder));
}

}  // namespace

Result<VmmPrograms> FindVmm() {
  ASSIGN_OR_RETURN(const std::string folder, OwnFolder());
  VmmPrograms programs;
  ASSIGN_OR_RETURN(programs.jail, FindProgram(folder, "gemel-jail", "jail"));
  if (const char* forced = std::getenv("GEMEL_VMM"); forced != nullptr && *forced != '\0') {
    programs.vmm = forced;
    return programs;
  }
  ASSIGN_OR_RETURN(programs.vmm, FindProgram(folder, "gemel-vmm", "vmm/process"));
  return programs;
}

void ReadExitRecord(std::string_view record, ExitState& state) {
  constexpr std::string_view kFailed = "failed ", kSignal = "signal ";
  if (record.ends_with('\n')) record.remove_suffix(1);
  if (record.starts_with(kFailed)) {
    state.failed = record.substr(kFailed.size());
  } else if (record.starts_with(kSignal)) {
    record.remove_prefix(kSignal.size());
    const std::size_t space = record.find(' ');
    if (space != record.npos) state.refused = record.substr(space + 1);
  }
}

Result<VmmProcess> VmmProcess::Spawn(const VmmPrograms& programs, SandboxMode sandbox,
                                     UniqueFd control) {
  VmmProcess process;
  ChildFds fds;
  RETURN_IF_ERROR(Add(fds, control));
  std::vector<std::string> words = {"gemel-vmm", fmt::format("--control-fd={}", kControlFd),
                                    fmt::format("--sandbox={}", SandboxModeWord(sandbox))};
  if (sandbox != SandboxMode::kOff) {
    ASSIGN_OR_RETURN(Pipe life, MakePipe());
    ASSIGN_OR_RETURN(Pipe record, MakePipe());
    RETURN_IF_ERROR(Add(fds, life.reading));
    RETURN_IF_ERROR(Add(fds, record.writing));
    process.life_ = std::move(life.writing);
    process.record_ = std::move(record.reading);
    words[0] = programs.vmm;
    words.insert(words.begin(), "gemel-jail");
  }
  const bool jailed = sandbox != SandboxMode::kOff;
  ASSIGN_OR_RETURN(process.pid_,
                   Start(jailed ? programs.jail : programs.vmm, std::move(words), fds));
  // glibc 2.36 declares pidfd_open without extern "C".
  process.pidfd_.Reset(static_cast<int>(syscall(SYS_pidfd_open, process.pid_, 0)));
  const int pidfd_error = errno;
  if (!process.pidfd_) {
    kill(process.pid_, SIGKILL);
    waitpid(process.pid_, nullptr, 0);
    return ErrnoError(pidfd_error, "pidfd_open");
  }
  return process;
}

// The outer process of a jail waits until all that is inside has gone: then disks are free again.
void VmmProcess::Kill() const {
  if (!pidfd_) return;  // reaped: the number may be another's
  kill(pid_, life_ ? SIGTERM : SIGKILL);
  if (life_) kill(pid_, SIGCONT);
}

ExitState VmmProcess::Reap() {
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pidfd_.Reset();
  ExitState state;
  if (WIFSIGNALED(status)) state.signal = WTERMSIG(status);
  if (WIFEXITED(status)) state.status = WEXITSTATUS(status);
  if (record_) {
    std::array<char, 512> record;
    const ssize_t size = read(record_.get(), record.data(), record.size());
    if (size > 0)
      ReadExitRecord(std::string_view(record.data(), static_cast<std::size_t>(size)), state);
  }
  return state;
}

VmmProcess::~VmmProcess() {
  if (!pidfd_) return;
  Kill();
  Reap();
}

}  // namespace gemel::cli
