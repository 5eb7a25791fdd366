// A task that looks at everything there is: done at once when it is asked for, but after one that took long
// only when twice that time has passed; what was asked for meanwhile is done together. So it takes a third of
// a processor at most, however often something changes. One thread, the loop's.
#pragma once
#include <cstdint>
#include <functional>
#include <utility>

#include "base/event_loop.h"
#include "base/log.h"
#include "base/timer.h"
#include "cluster/timing.h"

namespace gemel::daemon {

class PacedTask {
 public:
  // The loop outlives it. `now`: a clock that only goes on.
  PacedTask(EventLoop* loop, std::function<cluster::Time()> now, std::function<void()> task)
      : loop_(loop), now_(std::move(now)), task_(std::move(task)) {}

  // From within the task: once more, later.
  void Soon() {
    const std::int64_t left_us = (rests_until_ - now_()).us;
    if (runs_) {
      again_ = true;
    } else if (left_us > 0) {
      Later(left_us / 1000 + 1);
    } else {
      Run();
    }
  }

 private:
  void Later(std::int64_t ms) {
    if (std::exchange(waits_, true)) return;
    const Status set = timer_.Start(loop_, ms, [this] { Run(); });
    if (set) return;
    waits_ = false;
    LOG(kError, "gemeld", "timer: {}", set.error().message);
  }
  void Run() {
    waits_ = false;
    runs_ = true;
    const cluster::Time began = now_();
    task_();
    const cluster::Time ended = now_();
    runs_ = false;
    rests_until_ = ended + (ended - began) + (ended - began);
    if (std::exchange(again_, false)) Later(1 + 2 * (ended - began).us / 1000);
  }

  EventLoop* const loop_;
  const std::function<cluster::Time()> now_;
  const std::function<void()> task_;
  cluster::Time rests_until_ = cluster::kNever;
  bool waits_ = false;  // for timer_
  bool runs_ = false;
  bool again_ = false;
  Timer timer_;
};

}  // namespace gemel::daemon
