// Remembers which addresses signal which eventfds; Write does what KVM would do with a guest's
// write.
#pragma once
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "vmm/bus/io_event.h"

namespace gemel::testing {

class FakeIoEventRegistrar : public IoEventRegistrar {
 public:
  struct Entry {
    std::uint64_t address;
    std::optional<std::uint32_t> match;
    int event_fd;
    bool operator==(const Entry&) const = default;
  };

  Status Add(std::uint64_t address, std::optional<std::uint32_t> match, int event_fd) override {
    if (adds_left_ == 0) return FailedPrecondition("no more io events");
    --adds_left_;
    entries_.push_back({address, match, event_fd});
    return {};
  }
  Status Remove(std::uint64_t address, std::optional<std::uint32_t> match, int event_fd) override {
    const auto found = std::ranges::find(entries_, Entry{address, match, event_fd});
    if (found == entries_.end()) return MakeError(Code::kNotFound, "no such io event");
    entries_.erase(found);
    return {};
  }

  // A 4-byte guest write; false if no entry takes it, so that it would reach the bus.
  bool Write(std::uint64_t address, std::uint32_t value) const {
    for (const Entry& entry : entries_) {
      if (entry.address != address || entry.match.value_or(value) != value) continue;
      const std::uint64_t one = 1;
      return write(entry.event_fd, &one, sizeof one) == sizeof one;
    }
    return false;
  }

  // Lets the next `n` Adds pass and refuses the rest.
  void FailAfter(int n) { adds_left_ = n; }
  const std::vector<Entry>& entries() const { return entries_; }

 private:
  std::vector<Entry> entries_;
  int adds_left_ = 1 << 30;
};

}  // namespace gemel::testing
