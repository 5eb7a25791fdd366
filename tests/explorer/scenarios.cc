#include "tests/explorer/scenarios.h"

#include <fmt/format.h>

#include <cstdlib>

namespace gemel::explorer {

Found Explore(const Config& config) {
  Found found = Search(config);
  fmt::print(
      "{}: {} states, {} steps, depth {}, {} faults, {}; {} futures run, {} of them to an alert\n",
      config.name, found.states, found.steps, found.depth, config.faults,
      found.complete ? "complete" : "not complete", found.lives, found.alarms);
  if (found.broken.empty()) return found;
  fmt::print("  {}, thus:\n", found.broken);
  for (const std::string& line : found.trace) fmt::print("    {}\n", line);
  return found;
}

std::uint8_t Deeper(std::uint8_t usual) {
  const char* more = std::getenv("GEMEL_EXPLORER_FAULTS");
  return static_cast<std::uint8_t>(usual + (more != nullptr ? std::atoi(more) : 0));
}

bool Hurried() { return std::getenv("GEMEL_EXPLORER_QUICK") != nullptr; }

}  // namespace gemel::explorer
