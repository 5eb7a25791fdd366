// More memory than the runtime's page tables map, which end at 4 GiB.
#pragma once
#include <cstdint>

namespace bench {

// Makes the 2 MiB around the address usable at its own address; false when the tables are used up.
bool MapMemory(std::uint64_t address);

}  // namespace bench
