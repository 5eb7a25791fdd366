#include "base/event_fd.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace gemel {

Result<EventFd> EventFd::Create() {
  UniqueFd fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd) return ErrnoError(errno, "eventfd");
  return EventFd(std::move(fd));
}

void EventFd::Signal() const {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(fd_.get(), &one, sizeof one);
}

bool EventFd::Drain() const {
  std::uint64_t count = 0;
  return read(fd_.get(), &count, sizeof count) == sizeof count;
}

}  // namespace gemel
