#include "storage/nexus.h"

#include <fmt/core.h>

namespace gemel::storage {

std::string NexusStem(std::string_view base, const cluster::StorageKey& owner, std::uint32_t vm) {
  return fmt::format("{}:n{}.m{}.e{}-{}", base, owner.node, vm, owner.epoch.incarnation,
                     owner.epoch.counter);
}

}  // namespace gemel::storage
