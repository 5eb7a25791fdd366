// A non-blocking eventfd counter: what kicks, completions and interrupts travel on.
#pragma once
#include "base/result.h"
#include "base/unique_fd.h"

namespace gemel {

class EventFd {
 public:
  static Result<EventFd> Create();
  explicit EventFd(UniqueFd fd) : fd_(std::move(fd)) {}

  int get() const { return fd_.get(); }
  // Adds one. Any thread; never blocks; a counter at its maximum stays signalled.
  void Signal() const;
  // Reads and clears the counter; false if it was not signalled.
  bool Drain() const;

 private:
  UniqueFd fd_;
};

}  // namespace gemel
