#include "base/event_loop.h"

#include <poll.h>
#include <sys/epoll.h>

#include <array>
#include <cerrno>

#include "base/check.h"

namespace gemel {

Result<std::unique_ptr<EventLoop>> EventLoop::Create() {
  UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return ErrnoError(errno, "epoll_create1");
  ASSIGN_OR_RETURN(EventFd wake, EventFd::Create());
  std::unique_ptr<EventLoop> loop(new EventLoop(std::move(epoll), std::move(wake)));
  EventLoop* raw = loop.get();
  RETURN_IF_ERROR(raw->Watch(raw->wake_.get(), EPOLLIN, [raw](std::uint32_t) {
    raw->wake_.Drain();
    raw->RunTasks();
  }));
  return loop;
}

EventLoop::~EventLoop() = default;

Status EventLoop::Watch(int fd, std::uint32_t events, Callback callback) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0)
    return ErrnoError(errno, fmt::format("watch fd {}", fd));
  watches_[fd] = std::make_shared<Callback>(std::move(callback));
  return {};
}

Status EventLoop::Modify(int fd, std::uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) != 0)
    return ErrnoError(errno, fmt::format("modify watch of fd {}", fd));
  return {};
}

void EventLoop::Unwatch(int fd) {
  if (watches_.erase(fd) > 0) epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

void EventLoop::Post(std::function<void()> task) {
  {
    MutexLock lock(mutex_);
    tasks_.push_back(std::move(task));
  }
  wake_.Signal();
}

void EventLoop::Stop() {
  stop_ = true;
  wake_.Signal();
}

void EventLoop::Run() {
  while (!stop_) RunOnce(-1);
}

void EventLoop::RunOnce(int timeout_ms) {
  if (!Allowed(permit_)) return RunPosted(timeout_ms);
  std::array<epoll_event, 32> events;
  const int n =
      epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), timeout_ms);
  CHECK(n >= 0 || errno == EINTR);
  for (int i = 0; i < n && !stop_; ++i) {
    const epoll_event& event = events[static_cast<std::size_t>(i)];
    const auto watch = watches_.find(event.data.fd);
    if (watch == watches_.end()) continue;  // unwatched by an earlier callback of this batch
    if (event.data.fd != wake_.get() && !Allowed(permit_))
      return;                                                  // level-triggered: it comes again
    const std::shared_ptr<Callback> callback = watch->second;  // it may unwatch itself
    (*callback)(event.events);
  }
}

void EventLoop::RunPosted(int timeout_ms) {
  pollfd wake{wake_.get(), POLLIN, 0};
  if (poll(&wake, 1, timeout_ms) <= 0) return;  // EINTR
  wake_.Drain();
  RunTasks();
}

void EventLoop::RunTasks() {
  std::vector<std::function<void()>> tasks;
  {
    MutexLock lock(mutex_);
    tasks.swap(tasks_);
  }
  for (std::function<void()>& task : tasks) task();
}

}  // namespace gemel
