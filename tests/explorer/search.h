// Visits every state that a World can reach, nearest first, and checks each.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "tests/explorer/world.h"

namespace gemel::explorer {

struct Found {
  std::string broken;  // empty: nothing
  std::vector<std::string> trace;
  std::uint64_t states = 0;
  std::uint64_t steps = 0;   // actions tried
  std::uint32_t depth = 0;   // of the last layer
  bool complete = false;     // every state within the faults is known
  std::uint64_t lives = 0;   // states whose future was run forward
  std::uint64_t alarms = 0;  // futures that end with an alert, as they should
};

Found Search(const Config& config);

}  // namespace gemel::explorer
