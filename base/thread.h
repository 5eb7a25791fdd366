// A named thread whose entry is noexcept: an escaping exception ends the process.
#pragma once
#include <functional>
#include <string>
#include <thread>

namespace gemel {

// Starts `entry` on a thread named `name` (cut to the kernel's 15 characters). The caller joins.
std::thread StartThread(std::string name, std::function<void()> entry);

}  // namespace gemel
