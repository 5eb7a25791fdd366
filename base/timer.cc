#include "base/timer.h"

#include <sys/epoll.h>
#include <sys/timerfd.h>

#include <cerrno>
#include <utility>

namespace gemel {

Timer::~Timer() {
  if (fd_) loop_->Unwatch(fd_.get());
}

Status Timer::Start(EventLoop* loop, std::int64_t after_ms, std::function<void()> fire) {
  if (fd_) loop_->Unwatch(fd_.get());
  loop_ = loop;
  fd_.Reset(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!fd_) return ErrnoError(errno, "timerfd_create");
  itimerspec spec{};
  spec.it_value = {after_ms / 1000, (after_ms % 1000) * 1'000'000};
  if (timerfd_settime(fd_.get(), 0, &spec, nullptr) != 0)
    return ErrnoError(errno, "timerfd_settime");
  return loop->Watch(fd_.get(), EPOLLIN, [this, fire = std::move(fire)](std::uint32_t) {
    loop_->Unwatch(fd_.get());
    fire();
  });
}

}  // namespace gemel
