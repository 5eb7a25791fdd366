// The machines that gemeld of this host has, for a node that joins a cluster.
#pragma once
#include <string>
#include <vector>

#include "base/result.h"

namespace gemel::cli {

// Names of those that are no cluster's. kUnavailable if no gemeld answers at `socket`.
Result<std::vector<std::string>> OrdinaryMachines(const std::string& socket);

}  // namespace gemel::cli
