// Message-signalled interrupts: a device writes a value to an address, and a CPU is interrupted.
//
// What a device triggers and what a kernel data path (vhost) signals is an eventfd. While there is
// a message the kernel turns a signal into it (KVM's irqfd); while it is withdrawn nobody reads the
// eventfd, so that it is the pending bit of PCIe 6.1.4: set by a trigger, and by vhost without
// knowing.
#pragma once
#include <cstdint>
#include <memory>

#include "base/result.h"
#include "vmm/bus/interrupt.h"

namespace gemel {

// Trigger and event_fd: any thread; event_fd is never -1 and constant. The others: any thread, but
// one at a time.
class MsiInterrupt : public Interrupt {
 public:
  // From now on a trigger sends `data` to `address`. What was pending is sent now, once, and
  // nothing is pending any more. Cheap if the message is the last one again. After a failure the
  // interrupt is as Withdraw leaves it.
  virtual Status SetMessage(std::uint64_t address, std::uint32_t data) = 0;
  // From now on a trigger only makes it pending. It is so when it is made.
  virtual void Withdraw() = 0;
  // Whether it was triggered while withdrawn; false while there is a message.
  virtual bool pending() const = 0;
  // Forgets a pending trigger.
  virtual void ClearPending() = 0;
};

// Implemented by vmm/kvm; a fake sends nothing and counts.
class MsiAllocator {
 public:
  virtual ~MsiAllocator() = default;
  // A new one, withdrawn. The allocator outlives it. kResourceExhausted if KVM has no more routes.
  // Any thread.
  virtual Result<std::unique_ptr<MsiInterrupt>> CreateMsi() = 0;
};

}  // namespace gemel
