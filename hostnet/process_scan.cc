#include "hostnet/process_scan.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <memory>

#include "base/clock.h"
#include "base/file_util.h"

namespace gemel::hostnet {
namespace {

constexpr int kObeyMs = 2000;
constexpr int kExecMs = 1000;

struct CloseDir {
  void operator()(DIR* dir) const { closedir(dir); }
};

UniqueFd OpenPidfd(pid_t pid) {
  return UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
}

// Whether the process has ended within the time.
bool WaitForEnd(int pidfd, int timeout_ms) {
  const std::int64_t deadline = MonotonicMs() + timeout_ms;
  while (true) {
    pollfd poll_fd{pidfd, POLLIN, 0};
    const std::int64_t left = std::max<std::int64_t>(deadline - MonotonicMs(), 0);
    const int ready = poll(&poll_fd, 1, static_cast<int>(left));
    if (ready >= 0 || errno != EINTR) return ready > 0;
  }
}

// Which of the programs the process runs; empty: none.
std::string ProgramOf(pid_t pid, const std::vector<std::string>& programs) {
  std::array<char, PATH_MAX> target{};
  const std::string link = fmt::format("/proc/{}/exe", pid);
  const ssize_t n = readlink(link.c_str(), target.data(), target.size() - 1);
  std::string_view path(target.data(), static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
  constexpr std::string_view kDeleted = " (deleted)";  // by an upgrade
  if (path.ends_with(kDeleted)) path.remove_suffix(kDeleted.size());
  const auto found = std::ranges::find(programs, path);
  return found == programs.end() ? std::string() : *found;
}

// Its arguments, each with a zero behind it. During an exec it has the new program already and no
// arguments yet.
std::string CommandLineOf(pid_t pid, const std::vector<std::string>& programs) {
  for (int turn = 0; turn < kExecMs; ++turn) {
    const auto line = ReadTextFile(fmt::format("/proc/{}/cmdline", pid));
    if (line && !line->empty()) return *line;
    if (!line || ProgramOf(pid, programs).empty()) break;
    static_cast<void>(poll(nullptr, 0, 1));
  }
  return {};
}

std::string ArgumentOf(const std::string& line, const std::string& beginning) {
  for (std::size_t at = 0; at < line.size();) {
    const std::size_t end = std::min(line.find('\0', at), line.size());
    if (line.compare(at, beginning.size(), beginning) == 0) return line.substr(at, end - at);
    at = end + 1;
  }
  return {};
}

std::string Resolve(const std::string& program) {
  const std::unique_ptr<char, decltype(&free)> resolved(realpath(program.c_str(), nullptr), free);
  return resolved ? resolved.get() : program;
}

}  // namespace

Result<std::vector<FoundProcess>> FindProcesses(const std::vector<std::string>& programs,
                                                const std::string& beginning) {
  std::vector<std::string> files;
  files.reserve(programs.size());
  for (const std::string& program : programs) files.push_back(Resolve(program));
  const std::unique_ptr<DIR, CloseDir> proc(opendir("/proc"));
  if (!proc) return ErrnoError(errno, "/proc");
  std::vector<FoundProcess> found;
  while (const dirent* entry = readdir(proc.get())) {
    const pid_t pid = static_cast<pid_t>(strtol(entry->d_name, nullptr, 10));
    if (pid <= 0 || ProgramOf(pid, files).empty()) continue;
    FoundProcess process;
    process.pid = pid;
    // First the descriptor, then what it is: the number may become another's in between.
    process.pidfd = OpenPidfd(pid);
    process.argument = ArgumentOf(CommandLineOf(pid, files), beginning);
    process.program = ProgramOf(pid, files);
    struct stat status{};
    if (!process.pidfd || process.argument.empty() || process.program.empty() ||
        stat(fmt::format("/proc/{}", pid).c_str(), &status) != 0)
      continue;
    process.user = status.st_uid;
    found.push_back(std::move(process));
  }
  return found;
}

Status EndProcess(const FoundProcess& process) {
  for (const int signal : {SIGTERM, SIGKILL}) {
    if (syscall(SYS_pidfd_send_signal, process.pidfd.get(), signal, nullptr, 0) != 0 &&
        errno != ESRCH)
      return ErrnoError(errno, fmt::format("end process {}", process.pid));
    if (WaitForEnd(process.pidfd.get(), kObeyMs)) return {};
  }
  return MakeError(Code::kDeadlineExceeded,
                   fmt::format("process {} does not end, not even by SIGKILL", process.pid));
}

Result<int> RunProgram(const std::vector<std::string>& words, const std::string& errors,
                       int timeout_ms) {
  std::vector<char*> arguments;
  arguments.reserve(words.size() + 1);
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  std::array<char, 30> path{"PATH=/usr/sbin:/usr/bin"};
  std::array<char*, 2> environment{path.data(), nullptr};

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 2, errors.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  posix_spawn_file_actions_addclosefrom_np(&actions, 3);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  pid_t pid = 0;
  const int error =
      posix_spawn(&pid, arguments[0], &actions, &attributes, arguments.data(), environment.data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return ErrnoError(error, words[0]);

  const UniqueFd pidfd = OpenPidfd(pid);
  const bool ended = pidfd && WaitForEnd(pidfd.get(), timeout_ms);
  if (!ended) kill(pid, SIGKILL);  // our child, not reaped yet: the number is still its own
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!ended)
    return MakeError(Code::kDeadlineExceeded,
                     fmt::format("{}: not ready after {} ms", words[0], timeout_ms));
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace gemel::hostnet
