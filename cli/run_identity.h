// Who a machine is if nobody says: its UUID.
#pragma once
#include "base/result.h"
#include "vmm/config/machine_config.h"

namespace gemel::cli {

// Gives the machine a UUID, if it has none: the same at each start of a machine with a disk of its
// own, on one host; a new one without (docs/decisions/005-uuid-of-a-machine.md). Asks the file
// system where the disk is.
Status SettleUuid(MachineConfig& config);

}  // namespace gemel::cli
