// Memory slots that remember what they show, and can be told to refuse.
#pragma once
#include <cstdint>
#include <map>

#include "base/check.h"
#include "vmm/memory/memory_slots.h"

namespace gemel::testing {

class FakeMemorySlots : public MemorySlots {
 public:
  struct Shown {
    std::uint64_t start = 0;
    std::uint64_t size = 0;
    bool read_only = false;
    bool operator==(const Shown&) const = default;
  };

  Status Show(std::uint32_t slot, MemoryRange range, bool read_only) override {
    ++changes;
    if (refuse) return MakeError(Code::kResourceExhausted, "refused");
    CHECK(slot < kSlots && !shown.contains(slot));
    shown[slot] = {range.start.value, range.size, read_only};
    return {};
  }
  Status Hide(std::uint32_t slot) override {
    ++changes;
    CHECK(shown.erase(slot) == 1);
    return {};
  }

  std::map<std::uint32_t, Shown> shown;
  bool refuse = false;
  int changes = 0;
};

}  // namespace gemel::testing
