// Stops new requests and tells when the running ones are done. One thread only.
//
//   gate.Enter(); … request runs … gate.Leave();
//   gate.Close([] { /* nothing is in flight any more */ });
#pragma once
#include <cstddef>
#include <functional>
#include <utility>

#include "base/check.h"

namespace gemel {

class Gate {
 public:
  ~Gate() { CHECK(in_flight_ == 0); }

  bool closed() const { return closed_; }
  std::size_t in_flight() const { return in_flight_; }

  // REQUIRES: !closed().
  void Enter() {
    CHECK(!closed_);
    ++in_flight_;
  }
  void Leave() {
    CHECK(in_flight_ > 0);
    --in_flight_;
    RunIfDrained();
  }
  // Refuses new requests; `drained` runs once, at once if nothing is in flight.
  void Close(std::function<void()> drained) {
    closed_ = true;
    drained_ = std::move(drained);
    RunIfDrained();
  }
  void Open() { closed_ = false; }

 private:
  void RunIfDrained() {
    if (!closed_ || in_flight_ != 0 || !drained_) return;
    std::exchange(drained_, nullptr)();
  }

  bool closed_ = false;
  std::size_t in_flight_ = 0;
  std::function<void()> drained_;
};

}  // namespace gemel
