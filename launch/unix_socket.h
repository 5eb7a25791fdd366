// Unix stream sockets by their path, on behalf of a gemel-vmm, which opens nothing itself.
#pragma once
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"
#include "launch/created_file.h"

namespace gemel::launch {

struct ListeningSocket {
  UniqueFd fd;       // non-blocking
  CreatedFile file;  // removed with the VM
};

// Listens at `path`, with mode 0700: what goes through is its owner's. A socket that nobody listens
// on any more is replaced. Errors begin with "<argument>: <shown>".
Result<ListeningSocket> ListenUnix(std::string_view argument, const std::string& path,
                                   const std::string& shown, int backlog);

// A connection to the socket at `path`, without waiting: an error of errno's, kUnavailable too if
// its backlog is full.
Result<UniqueFd> ConnectUnix(const std::string& path);

}  // namespace gemel::launch
