// A message of fixed size on a SOCK_SEQPACKET socket, with at most one descriptor beside it (unix(7),
// SCM_RIGHTS). Nothing here waits. Any thread.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/unique_fd.h"

namespace gemel {

// What became of a message: kAgain if there is none, or no room for it, now. One of another size is as
// good as the other end's being gone.
enum class FdMessageState : std::uint8_t { kDone, kAgain, kGone };

// Sends a copy of `fd`; of none if it is negative.
FdMessageState SendFdMessage(int socket, std::span<const std::byte> bytes, int fd);
// `fd` may be null: whatever comes beside the message is closed. `*fd` is untouched if nothing came.
FdMessageState ReceiveFdMessage(int socket, std::span<std::byte> bytes, UniqueFd* fd);

}  // namespace gemel
