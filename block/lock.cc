#include "block/lock.h"

#include <fcntl.h>

#include <cerrno>
#include <string>
#include <thread>

namespace gemel::block {

Result<UniqueFd> TakeImageLock(int fd, bool read_only) {
  const std::string same = fmt::format("/proc/self/fd/{}", fd);  // whatever has its name by now
  UniqueFd lock(open(same.c_str(), (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY));
  if (!lock) return ErrnoError(errno, "cannot be locked");
  RETURN_IF_ERROR(LockImage(lock.get(), read_only));
  return lock;
}

Status LockImage(int fd, bool read_only, std::chrono::milliseconds patience) {
  struct flock whole{};  // from 0, length 0: to the end, wherever it moves
  whole.l_type = static_cast<short>(read_only ? F_RDLCK : F_WRLCK);
  whole.l_whence = SEEK_SET;
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (fcntl(fd, F_OFD_SETLK, &whole) != 0) {
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EACCES) return ErrnoError(errno, "cannot be locked");
    if (std::chrono::steady_clock::now() >= deadline)
      return FailedPrecondition("in use by another process (a VM?)");
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return {};
}

}  // namespace gemel::block
