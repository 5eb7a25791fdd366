// Runs fence agents: each run a child of its own, in a session of its own, as the user that was declared,
// with an environment of a few fixed words, what it must know on its standard input alone, and killed with
// all it has begun when its time is over or this ends. The loop's thread; nothing waits for an agent.
#pragma once
#include <map>
#include <memory>
#include <string>

#include "base/event_loop.h"
#include "grpc/fencing.h"

namespace gemel::daemon {

class FenceRuns {
 public:
  // The loop outlives it.
  explicit FenceRuns(EventLoop* loop);
  ~FenceRuns();
  FenceRuns(const FenceRuns&) = delete;
  FenceRuns& operator=(const FenceRuns&) = delete;

  void Run(const FenceAgent& agent, const std::string& action, Fencing::Done done);

  // Of what agents say, so much is kept.
  static constexpr std::size_t kMostText = 400;

 private:
  class One;
  void End(std::uint64_t number);

  EventLoop* const loop_;
  std::uint64_t last_ = 0;
  std::map<std::uint64_t, std::unique_ptr<One>> runs_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace gemel::daemon
