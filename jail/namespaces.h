// What the keeper takes away from itself, and so from the program that it starts.
#pragma once
#include "jail/shared.h"

namespace gemel::jail {

// Mount, network and IPC namespaces of its own and an empty, read-only root; each layer that cannot
// be had is noted in `shared`. What was opened before stays open.
void LeaveTheHost(Shared& shared);

}  // namespace gemel::jail
