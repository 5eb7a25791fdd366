// What a person is told of a balloon. Pure.
#pragma once
#include <string>
#include <vector>

#include "vmm/control/control_messages.h"

namespace gemel::cli {

// Lines: what was asked for and given, and what the guest says of its memory (virtio 1.2, 5.5.6.4),
// as far as it says anything.
std::vector<std::string> BalloonText(const BalloonInfo& balloon);

}  // namespace gemel::cli
