#include "grpc/process_table.h"

#include <dirent.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>

#include "base/file_util.h"

namespace gemel::daemon {
namespace {

constexpr std::string_view kProgram = "gemel-jail";
constexpr std::string_view kNameOption = "--vm=";
constexpr std::size_t kMostCommandBytes = 64 << 10;

std::optional<pid_t> ToPid(std::string_view text) {
  pid_t pid = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), pid);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) return std::nullopt;
  return pid;
}

pid_t ParentOf(pid_t pid) {
  const auto stat = ReadTextFile(fmt::format("/proc/{}/stat", pid));
  if (!stat) return -1;
  // "<pid> (<name, any bytes>) <state> <parent> ..."
  const std::size_t end = stat->rfind(") ");
  if (end == stat->npos || stat->size() < end + 5) return -1;
  const std::string_view rest = std::string_view(*stat).substr(end + 4);
  return ToPid(rest.substr(0, rest.find(' '))).value_or(-1);
}

pid_t FirstChild(pid_t pid) {
  const auto children = ReadTextFile(fmt::format("/proc/{0}/task/{0}/children", pid));
  if (!children) return -1;
  return ToPid(std::string_view(*children).substr(0, children->find(' '))).value_or(-1);
}

}  // namespace

std::optional<std::string> JailName(pid_t pid) {
  const auto command = ReadTextFile(fmt::format("/proc/{}/cmdline", pid), kMostCommandBytes);
  if (!command) return std::nullopt;
  const std::string_view text = *command;
  const std::size_t end = text.find('\0');
  if (end == text.npos || text.substr(0, end) != kProgram) return std::nullopt;
  const std::string_view second = text.substr(end + 1, text.find('\0', end + 1) - end - 1);
  if (!second.starts_with(kNameOption)) return std::nullopt;
  return std::string(second.substr(kNameOption.size()));
}

// The keeper is a copy of the outer process, and has its command line.
std::map<std::string, JailProcess> FindJails(std::string_view prefix) {
  std::map<std::string, JailProcess> found;
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(opendir("/proc"), closedir);
  if (!entries) return found;
  while (const dirent* const entry = readdir(entries.get())) {
    const auto pid = ToPid(entry->d_name);
    if (!pid) continue;
    const auto name = JailName(*pid);
    if (!name || !name->starts_with(prefix)) continue;
    JailProcess& jail = found[*name];
    (JailName(ParentOf(*pid)) == name ? jail.keeper : jail.outer) = *pid;
  }
  return found;
}

pid_t VmmOf(pid_t jail) {
  const pid_t keeper = FirstChild(jail);
  return keeper < 0 ? -1 : FirstChild(keeper);
}

Result<UniqueFd> OpenPidfd(pid_t pid) {
  // glibc 2.36 declares pidfd_open without extern "C".
  UniqueFd fd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!fd) return ErrnoError(errno, fmt::format("process {}", pid));
  return fd;
}

bool SendSignal(const UniqueFd& pidfd, int signal) {
  return syscall(SYS_pidfd_send_signal, pidfd.get(), signal, nullptr, 0) == 0;
}

bool HasEnded(const UniqueFd& pidfd) {
  pollfd ended{pidfd.get(), POLLIN, 0};
  return poll(&ended, 1, 0) == 1;
}

}  // namespace gemel::daemon
