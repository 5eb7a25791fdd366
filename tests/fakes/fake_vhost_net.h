// A kernel's vhost-net that moves nothing: it remembers what it was told, and can be made to refuse.
#pragma once
#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/check.h"
#include "net/vhost_net.h"

namespace gemel::testing {

// What a test looks at while the device has the VhostNet. Outlives it. What is not atomic belongs to
// the device's thread until that has stopped.
struct FakeVhostState {
  std::uint64_t features = ~0ull;
  bool refuse_set_up = false;
  std::atomic<bool> refuse_connect{false};

  std::uint64_t negotiated = 0;
  std::vector<net::VhostRegion> memory;
  std::optional<net::VhostRing> receive, transmit;
  std::atomic<int> tap{-1};  // connected to; -1: to none
  std::atomic<int> connects{0};
};

class FakeVhostNet : public net::VhostNet {
 public:
  explicit FakeVhostNet(FakeVhostState* state) : state_(state) {}

  std::uint64_t features() const override { return state_->features; }
  Status SetUp(std::uint64_t features, std::span<const net::VhostRegion> memory,
               const net::VhostRing& receive, const net::VhostRing& transmit) override {
    CHECK(state_->tap < 0);
    if (state_->refuse_set_up) return Internal("set-up refused");
    state_->negotiated = features;
    state_->memory.assign(memory.begin(), memory.end());
    state_->receive = receive;
    state_->transmit = transmit;
    return {};
  }
  Status Connect(int tap) override {
    CHECK(state_->receive.has_value() && state_->tap < 0);
    if (state_->refuse_connect) return Internal("connection refused");
    state_->tap = tap;
    ++state_->connects;
    return {};
  }
  void Disconnect() override { state_->tap = -1; }
  void TearDown() override {
    Disconnect();
    state_->receive.reset();
    state_->transmit.reset();
  }

 private:
  FakeVhostState* const state_;
};

}  // namespace gemel::testing
