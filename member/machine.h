// Which machine this is. For telling two of them apart, not for trusting either.
#pragma once
#include <string>

namespace gemel::member {

// A digest of /etc/machine-id, which itself is nobody else's to know; empty if there is none.
// GEMEL_MACHINE_ID names another file, for tests.
std::string MachineDigest();

}  // namespace gemel::member
