// Guest writes that signal an eventfd in the kernel instead of waking a vCPU thread (KVM's
// ioeventfd).
#pragma once
#include <cstdint>
#include <optional>

#include "base/result.h"

namespace gemel {

// Implemented by vmm/kvm; a fake records the calls. Any thread.
class IoEventRegistrar {
 public:
  virtual ~IoEventRegistrar() = default;
  // From now on a guest write of 4 bytes (any width if `match` is empty) to the guest-physical
  // address, holding `match` if that is given, signals `event_fd`, which the caller keeps open
  // until Remove.
  virtual Status Add(std::uint64_t address, std::optional<std::uint32_t> match, int event_fd) = 0;
  virtual Status Remove(std::uint64_t address, std::optional<std::uint32_t> match,
                        int event_fd) = 0;
};

}  // namespace gemel
