// An epoll loop. One thread runs it; everything but Post and Stop is that thread's alone (or is
// called before Run).
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/event_fd.h"
#include "base/mutex.h"
#include "base/permit.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace gemel {

class EventLoop {
 public:
  using Callback = std::function<void(std::uint32_t events)>;

  static Result<std::unique_ptr<EventLoop>> Create();
  ~EventLoop();

  // Calls `callback` with epoll's events each time `fd` has any of `events` (level-triggered).
  // The caller keeps ownership of `fd` and calls Unwatch before closing it.
  Status Watch(int fd, std::uint32_t events, Callback callback);
  // Changes the events of a watched fd; 0 keeps it watched for errors alone.
  Status Modify(int fd, std::uint32_t events);
  // No callback of `fd` runs after this, not even one already collected. Unknown fds are ignored.
  void Unwatch(int fd);

  // Callbacks run only while `permit` holds, which is asked before each; otherwise the loop runs
  // posted tasks alone. Nothing is lost: what was ready is ready again, once a task has run after it
  // was renewed. Before Run; null: always.
  void SetPermit(Permit* permit) { permit_ = permit; }

  // Runs `task` on the loop's thread, in order. Any thread, also before Run; never blocks.
  // Tasks that were not run when the loop is destroyed are dropped.
  void Post(std::function<void()> task) EXCLUDES(mutex_);
  // Makes Run return after the callback in progress. Any thread.
  void Stop();
  // Handles events until Stop.
  void Run();
  // Handles what is ready, waiting at most `timeout_ms` (-1: for ever). For tests and nested waits.
  void RunOnce(int timeout_ms);

 private:
  EventLoop(UniqueFd epoll, EventFd wake) : epoll_(std::move(epoll)), wake_(std::move(wake)) {}
  void RunTasks() EXCLUDES(mutex_);
  void RunPosted(int timeout_ms) EXCLUDES(mutex_);

  UniqueFd epoll_;
  EventFd wake_;
  std::unordered_map<int, std::shared_ptr<Callback>> watches_;
  Permit* permit_ = nullptr;  // outlives the loop's running
  std::atomic<bool> stop_{false};
  Mutex mutex_;
  std::vector<std::function<void()>> tasks_ GUARDED_BY(mutex_);
};

}  // namespace gemel
