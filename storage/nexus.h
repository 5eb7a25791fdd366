// Who a machine's disk is to its target in one epoch: an I_T nexus of its own for each (node, machine,
// disk, epoch), derived, so that the VM's process logs in as the very one that the take-over registered.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "cluster/records.h"

namespace gemel::storage {

// What names of this machine's disks in this epoch begin with (block/iscsi/shared_claim.h has the rest).
// `base`: an iSCSI name of the node's, at most 150 bytes. `owner` is of the epoch.
std::string NexusStem(std::string_view base, const cluster::StorageKey& owner, std::uint32_t vm);

}  // namespace gemel::storage
