#include "grpc/vm_folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "base/file_util.h"

namespace gemel::daemon {
namespace {

constexpr std::size_t kMostRecordBytes = 1024;
constexpr int kBacklog = 64;

// The path of a socket has 108 bytes, and a run folder may have more: by way of the folder's
// descriptor, which `folder` keeps open.
struct SocketAddress {
  UniqueFd folder;
  sockaddr_un address{};
  // SAFETY: sockaddr_un is a sockaddr by the sockets interface.
  const sockaddr* generic() const { return reinterpret_cast<const sockaddr*>(&address); }
};

Result<SocketAddress> Address(const std::string& path, const char* name) {
  SocketAddress result;
  result.folder.Reset(open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!result.folder) return ErrnoError(errno, path);
  const std::string text = fmt::format("/proc/self/fd/{}/{}", result.folder.get(), name);
  result.address.sun_family = AF_UNIX;
  std::memcpy(result.address.sun_path, text.c_str(), text.size());
  return result;
}

struct Meaning {
  std::string_view word;
  VmExitCause cause;
  std::string_view reason;
};
constexpr std::array<Meaning, 8> kMeanings = {{
    {"guest-powered-off", VmExitCause::kGuestPoweredOff, "the guest switched itself off"},
    {"powered-off", VmExitCause::kPoweredOff, "it was powered off"},
    {"guest-rebooted", VmExitCause::kGuestRebooted, "the guest rebooted, which ends this VM"},
    {"guest-panicked", VmExitCause::kGuestPanicked, "the guest's kernel panicked"},
    {"triple-fault", VmExitCause::kTripleFault, "triple fault"},
    {"crashed", VmExitCause::kCrashed, "the machine could not go on"},
    {"controller-gone", VmExitCause::kCrashed, "its daemon was gone before it ran"},
    {"not-configured", VmExitCause::kNotStarted, "its daemon was gone before it was configured"},
}};

// The VM's own word for it, if it is one that fits how the process ended.
bool TakeLastWords(std::string_view words, VmExit& exit) {
  const std::size_t space = words.find(' ');
  for (const Meaning& meaning : kMeanings) {
    if (meaning.word != words.substr(0, space)) continue;
    exit.cause = meaning.cause;
    exit.reason = space == words.npos ? meaning.reason : words.substr(space + 1);
    return true;
  }
  return false;
}

}  // namespace

VmExit ToVmExit(std::string_view text) {
  launch::ExitState state;
  launch::ReadExitRecord(text, state);
  VmExit exit;
  exit.status = state.status;
  exit.signal = state.signal;
  if (!state.failed.empty()) {
    exit.cause = VmExitCause::kNotStarted;
    exit.reason = "gemel-vmm was not started: " + state.failed;
  } else if (state.signal == SIGSYS && !state.refused.empty()) {
    exit.cause = VmExitCause::kRefusedCall;
    exit.reason = "its sandbox ended it for a system call that is not allowed: " + state.refused;
  } else if (state.signal != 0) {
    exit.cause = VmExitCause::kKilled;
    exit.reason = fmt::format("gemel-vmm was killed by signal {} ({})", state.signal,
                              strsignal(state.signal));
  } else if (!TakeLastWords(state.last_words, exit)) {
    exit.cause = VmExitCause::kCrashed;
    exit.reason = fmt::format("gemel-vmm ended with status {} without saying why", state.status);
  }
  return exit;
}

Status VmFolder::Create() const {
  if (mkdir(path_.c_str(), 0700) != 0) return ErrnoError(errno, path_);
  return {};
}

bool VmFolder::Exists() const {
  struct stat info{};
  return stat(path_.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

Status VmFolder::Remove() const {
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(opendir(path_.c_str()), closedir);
  if (!entries) return errno == ENOENT ? Status() : ErrnoError(errno, path_);
  while (const dirent* const entry = readdir(entries.get())) {
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    const std::string path = fmt::format("{}/{}", path_, name);
    if (unlink(path.c_str()) != 0 && errno != ENOENT) return ErrnoError(errno, path);
  }
  if (rmdir(path_.c_str()) != 0 && errno != ENOENT) return ErrnoError(errno, path_);
  return {};
}

Result<UniqueFd> VmFolder::Listen(const char* name, int type) const {
  ASSIGN_OR_RETURN(const SocketAddress to, Address(path_, name));
  UniqueFd fd(socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd || bind(fd.get(), to.generic(), sizeof to.address) != 0 ||
      listen(fd.get(), kBacklog) != 0)
    return ErrnoError(errno, fmt::format("{}/{}", path_, name));
  return fd;
}

Result<UniqueFd> VmFolder::Connect(const char* name, int type) const {
  ASSIGN_OR_RETURN(const SocketAddress to, Address(path_, name));
  UniqueFd fd(socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd || connect(fd.get(), to.generic(), sizeof to.address) != 0)
    return MakeError(Code::kUnavailable,
                     fmt::format("{}/{}: {}", path_, name, std::strerror(errno)));
  return fd;
}

Result<UniqueFd> VmFolder::CreateFile(const char* name) const {
  return gemel::OpenFile(fmt::format("{}/{}", path_, name),
                         O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW);
}

Result<UniqueFd> VmFolder::OpenFile(const char* name) const {
  return gemel::OpenFile(fmt::format("{}/{}", path_, name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
}

std::optional<VmExit> VmFolder::ReadExit() const {
  const auto file = OpenFile(kExitFile);
  struct stat info{};
  if (!file || fstat(file->get(), &info) != 0) return std::nullopt;
  const auto text = ReadTextFile(fmt::format("{}/{}", path_, kExitFile), kMostRecordBytes);
  if (!text || !text->ends_with('\n')) return std::nullopt;
  VmExit exit = ToVmExit(*text);
  exit.ended_at =
      static_cast<std::int64_t>(info.st_mtim.tv_sec) * 1'000'000'000 + info.st_mtim.tv_nsec;
  return exit;
}

}  // namespace gemel::daemon
