// A permit that a test ends and renews; or that ends by itself at a moment of CLOCK_BOOTTIME.
#pragma once
#include <atomic>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/permit.h"

namespace gemel::testing {

class FakePermit final : public Permit {
 public:
  static constexpr std::int64_t kLater = 1'000'000'000'000'000'000;

  bool Holds() override {
    ++asked;
    if (BootNs() >= until_ns) holds = false;
    return holds;
  }
  void Refused() override { holds = false; }
  std::int64_t AskAgainAtNs() const override {
    return ask_every_ns > 0 ? BootNs() + ask_every_ns : until_ns.load();
  }
  void Join(Member member) override { members.push_back(std::move(member)); }

  std::atomic<bool> holds = true;
  std::atomic<std::int64_t> until_ns = kLater;
  std::atomic<std::int64_t> ask_every_ns = 0;
  std::atomic<int> asked = 0;
  std::vector<Member> members;
};

}  // namespace gemel::testing
