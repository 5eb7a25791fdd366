#include "block/lock.h"

#include <fcntl.h>

#include <cerrno>

namespace gemel::block {

Status LockImage(int fd, bool read_only) {
  struct flock whole{};  // from 0, length 0: to the end, wherever it moves
  whole.l_type = static_cast<short>(read_only ? F_RDLCK : F_WRLCK);
  whole.l_whence = SEEK_SET;
  int result = -1;
  do {
    result = fcntl(fd, F_OFD_SETLK, &whole);
  } while (result != 0 && errno == EINTR);
  if (result == 0) return {};
  if (errno == EAGAIN || errno == EACCES)
    return FailedPrecondition("in use by another process (a VM?)");
  return ErrnoError(errno, "cannot be locked");
}

}  // namespace gemel::block
