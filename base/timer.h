// One timer on an EventLoop (CLOCK_BOOTTIME would count a suspended laptop; this one does not).
#pragma once
#include <cstdint>
#include <functional>

#include "base/event_loop.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace gemel {

// The loop outlives it; the loop's thread.
class Timer {
 public:
  Timer() = default;
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  // Calls `fire` once, `after_ms` from now; a timer that runs already is set anew.
  Status Start(EventLoop* loop, std::int64_t after_ms, std::function<void()> fire);

 private:
  EventLoop* loop_ = nullptr;
  UniqueFd fd_;
};

}  // namespace gemel
