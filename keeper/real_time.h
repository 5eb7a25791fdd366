// What keeps gemel-keeper running when its host is short of everything: memory that is never swapped
// out, a turn on the processor before all others, and not to be the one whom the kernel kills.
#pragma once
#include <string>
#include <vector>

namespace gemel::keeper {

// Call it while there is one thread: later ones inherit. One line for each thing that this host does
// not allow; the keeper works without it, but less surely.
std::vector<std::string> AskForRealTime();
// The calling thread is not in a hurry.
void LeaveRealTime();

}  // namespace gemel::keeper
