// Interrupt lines whose levels a test looks at.
#pragma once
#include <cstdint>
#include <mutex>
#include <set>

#include "vmm/bus/irq_lines.h"

namespace gemel::testing {

class FakeIrqLines : public IrqLines {
 public:
  void SetLevel(std::uint32_t gsi, bool asserted) override {
    const std::lock_guard lock(mutex_);
    ++changes_;
    if (asserted) {
      up_.insert(gsi);
    } else {
      up_.erase(gsi);
    }
  }

  std::set<std::uint32_t> up() const {
    const std::lock_guard lock(mutex_);
    return up_;
  }
  int changes() const {
    const std::lock_guard lock(mutex_);
    return changes_;
  }

 private:
  mutable std::mutex mutex_;
  std::set<std::uint32_t> up_;
  int changes_ = 0;
};

}  // namespace gemel::testing
