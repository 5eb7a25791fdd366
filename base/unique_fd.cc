#include "base/unique_fd.h"

#include <unistd.h>

namespace gemel {

void UniqueFd::Reset(int fd) {
  // Linux frees the descriptor even when close() fails with EINTR: never retry.
  if (fd_ >= 0) close(fd_);
  fd_ = fd;
}

}  // namespace gemel
