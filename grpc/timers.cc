#include "grpc/timers.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

namespace gemel::daemon {

Result<std::unique_ptr<Timers>> Timers::Create(EventLoop* loop, const Clock* clock) {
  UniqueFd fd(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!fd) return ErrnoError(errno, "timerfd_create");
  std::unique_ptr<Timers> timers(new Timers(loop, clock, std::move(fd)));
  RETURN_IF_ERROR(loop->Watch(timers->fd_.get(), EPOLLIN, [raw = timers.get()](std::uint32_t) {
    std::uint64_t expired = 0;
    // Spurious wake-ups are well: RunDue asks the clock.
    if (::read(raw->fd_.get(), &expired, sizeof(expired)) >= 0 || errno == EAGAIN) raw->RunDue();
  }));
  return timers;
}

Timers::~Timers() { loop_->Unwatch(fd_.get()); }

Timers::Id Timers::After(std::int64_t delay_ms, std::function<void()> task) {
  const Id id = next_id_++;
  queue_.emplace(clock_->MonotonicNow() + std::max<std::int64_t>(delay_ms, 0) * 1'000'000,
                 Entry{id, std::move(task)});
  Arm();
  return id;
}

void Timers::Cancel(Id id) {
  std::erase_if(queue_, [id](const auto& item) { return item.second.id == id; });
}

void Timers::RunDue() {
  while (!queue_.empty() && queue_.begin()->first <= clock_->MonotonicNow()) {
    auto task = std::move(queue_.begin()->second.task);
    queue_.erase(queue_.begin());
    task();
  }
  Arm();
}

void Timers::Arm() {
  if (queue_.empty()) return;
  const std::int64_t due =
      std::max<std::int64_t>(queue_.begin()->first - clock_->MonotonicNow(), 1);
  itimerspec when{};
  when.it_value = {.tv_sec = due / 1'000'000'000, .tv_nsec = due % 1'000'000'000};
  static_cast<void>(timerfd_settime(fd_.get(), 0, &when, nullptr));
}

}  // namespace gemel::daemon
