// How somebody vouches for a node that is off: by typing its name, or by a flag that has it. Pure.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace gemel::cli {

// The words that are such flags: "--yes-b-is-off".
std::vector<std::string> OffFlags(std::span<const std::string> words);
// Whether one of them is of `node`; false if there is none. kInvalidArgument for one of another node.
Result<bool> SaysOff(const std::vector<std::string>& flags, const std::string& node);

}  // namespace gemel::cli
