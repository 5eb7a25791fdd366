// Who a machine's disks are to their targets, as long as its fence's epoch lasts. Whoever gives the
// machine leave to issue says it first; each disk reads it on its own thread, when it logs in.
#pragma once
#include <atomic>
#include <cstdint>
#include <string>
#include <utility>

#include "base/mutex.h"
#include "block/iscsi/reservation.h"
#include "block/iscsi/session.h"

namespace gemel::block {

// Of disk `disk` of a machine whose names for targets begin with `stem`. The name carries all of it, not the
// ISID alone: LIO lets no session of the name that holds a reservation preempt it, whatever its ISID.
IscsiNexus NexusOfDisk(const std::string& stem, std::size_t disk);

class SharedClaim {
 public:
  struct Claim {
    IscsiNexus nexus;
    ReservationKey key = 0;  // 0: none, and no nexus: the disk is not claimed
  };

  // Any thread.
  void Set(std::string stem, ReservationKey key);
  // How often it was set. A disk whose session is of another number ends it.
  std::uint64_t number() const { return number_.load(std::memory_order_acquire); }
  // With the number that it is of.
  std::pair<std::uint64_t, Claim> Of(std::size_t disk) const;

 private:
  mutable Mutex mutex_;
  std::string stem_ GUARDED_BY(mutex_);
  ReservationKey key_ GUARDED_BY(mutex_) = 0;
  std::atomic<std::uint64_t> number_{0};
};

}  // namespace gemel::block
