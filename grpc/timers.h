// Things to do later on an EventLoop: one timerfd, a queue in order of time. On the loop's thread.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>

#include "base/clock.h"
#include "base/event_loop.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace gemel::daemon {

class Timers {
 public:
  using Id = std::uint64_t;

  // `loop` and `clock` outlive it.
  static Result<std::unique_ptr<Timers>> Create(EventLoop* loop, const Clock* clock);
  ~Timers();

  // Runs `task` once, `delay_ms` from now at the earliest.
  Id After(std::int64_t delay_ms, std::function<void()> task);
  // Unknown and past ids are ignored.
  void Cancel(Id id);
  // Runs what is due by the clock. The loop does; tests with a clock of their own do.
  void RunDue();

 private:
  struct Entry {
    Id id;
    std::function<void()> task;
  };
  Timers(EventLoop* loop, const Clock* clock, UniqueFd fd)
      : loop_(loop), clock_(clock), fd_(std::move(fd)) {}
  void Arm();

  EventLoop* const loop_;
  const Clock* const clock_;
  const UniqueFd fd_;
  Id next_id_ = 1;
  std::multimap<std::int64_t, Entry> queue_;  // by CLOCK_MONOTONIC, ns
};

}  // namespace gemel::daemon
