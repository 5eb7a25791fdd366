// Who a machine's disk is to its target in one epoch: an I_T nexus of its own for each (node, machine,
// disk, epoch), derived, so that the VM's process logs in as the very one that the take-over registered.
//
// The name carries all of it, not the ISID alone: LIO lets no session of the name that holds a
// reservation preempt it, whatever its ISID.
#pragma once
#include <cstdint>
#include <string_view>

#include "block/iscsi/session.h"
#include "cluster/records.h"

namespace gemel::storage {

// `base`: an iSCSI name of the cluster's, at most 150 bytes. `owner` is of the epoch.
block::IscsiNexus NexusOf(std::string_view base, const cluster::StorageKey& owner, std::uint32_t vm,
                          std::uint32_t disk);

}  // namespace gemel::storage
