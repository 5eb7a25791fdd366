#include "storage/nexus.h"

#include <fmt/core.h>

namespace gemel::storage {

block::IscsiNexus NexusOf(std::string_view base, const cluster::StorageKey& owner, std::uint32_t vm,
                          std::uint32_t disk) {
  block::IscsiNexus nexus;
  nexus.initiator = fmt::format("{}:n{}.m{}.d{}.e{}-{}", base, owner.node, vm, disk,
                                owner.epoch.incarnation, owner.epoch.counter);
  nexus.isid = 1;
  return nexus;
}

}  // namespace gemel::storage
