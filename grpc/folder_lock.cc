#include "grpc/folder_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <span>
#include <thread>

#include "base/clock.h"
#include "base/file_util.h"

namespace gemel::daemon {
namespace {

constexpr int kTryAgainMs = 10;
constexpr std::size_t kMostPidBytes = 32;

// What the one that has the lock has written; it is for people alone.
std::string HolderOf(const std::string& path) {
  const auto text = ReadTextFile(path, kMostPidBytes);
  if (!text || text->empty() || text->find_first_not_of("0123456789\n") != text->npos) return "";
  return fmt::format(" (process {})", text->substr(0, text->find('\n')));
}

}  // namespace

Result<UniqueFd> LockFolder(const std::string& folder, int patience_ms) {
  const std::string path = folder + "/lock";
  ASSIGN_OR_RETURN(UniqueFd file, OpenFile(path, O_RDWR | O_CREAT | O_NOFOLLOW));
  const std::int64_t deadline = MonotonicMs() + patience_ms;
  while (flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return ErrnoError(errno, path);
    if (MonotonicMs() >= deadline)
      return FailedPrecondition("{}: another gemeld{} has {}", path, HolderOf(path), folder);
    std::this_thread::sleep_for(std::chrono::milliseconds(kTryAgainMs));
  }
  const std::string pid = fmt::format("{}\n", getpid());
  // On a full disk it stays empty, and the lock is as good.
  if (ftruncate(file.get(), 0) == 0)
    static_cast<void>(WriteAll(file.get(), std::as_bytes(std::span(pid))).has_value());
  return file;
}

}  // namespace gemel::daemon
