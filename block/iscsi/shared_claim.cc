#include "block/iscsi/shared_claim.h"

#include <fmt/core.h>

namespace gemel::block {

IscsiNexus NexusOfDisk(const std::string& stem, std::size_t disk) {
  IscsiNexus nexus;
  nexus.initiator = fmt::format("{}.d{}", stem, disk);
  nexus.isid = 1;
  return nexus;
}

void SharedClaim::Set(std::string stem, ReservationKey key) {
  const MutexLock lock(mutex_);
  stem_ = std::move(stem);
  key_ = key;
  number_.fetch_add(1, std::memory_order_acq_rel);
}

std::pair<std::uint64_t, SharedClaim::Claim> SharedClaim::Of(std::size_t disk) const {
  const MutexLock lock(mutex_);
  Claim claim;
  claim.key = key_;
  if (key_ != 0) claim.nexus = NexusOfDisk(stem_, disk);
  return {number(), std::move(claim)};
}

}  // namespace gemel::block
