// The routing table of one KVM VM: its fixed lines, and messages (MSI) that come and go. KVM takes
// only whole tables, so this keeps the table. Private to vmm/kvm.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"
#include "vmm/kvm/irq_routing.h"

namespace gemel::kvm {

// Any thread.
class GsiRoutes {
 public:
  // `vm` is borrowed; `limit` is how many entries KVM takes (KVM_CAP_IRQ_ROUTING).
  GsiRoutes(int vm, std::size_t limit) : vm_(vm), limit_(limit) {}

  // Replaces the fixed lines.
  Status SetLines(std::span<const IrqRoute> lines) EXCLUDES(mutex_);

  // A GSI from kFirstMsiGsi on for one message. kResourceExhausted if the table has no room.
  Result<std::uint32_t> Allocate() EXCLUDES(mutex_);
  void Free(std::uint32_t gsi) EXCLUDES(mutex_);
  // What the GSI sends from now on. Tells KVM only of a change. On failure the old one stays.
  Status SetMessage(std::uint32_t gsi, std::uint64_t address, std::uint32_t data) EXCLUDES(mutex_);

 private:
  Status PublishLocked() REQUIRES(mutex_);

  const int vm_;
  const std::size_t limit_;
  Mutex mutex_;
  std::vector<IrqRoute> lines_ GUARDED_BY(mutex_);
  // By GSI; one without an address was never set and has no entry.
  std::map<std::uint32_t, IrqRoute> messages_ GUARDED_BY(mutex_);
};

}  // namespace gemel::kvm
