#include "launch/iscsi_dialer.h"

#include <sys/socket.h>

#include <cerrno>

namespace gemel::launch {

Result<IscsiDialer> StartIscsiDialer(const std::string& host, std::uint16_t port) {
  ASSIGN_OR_RETURN(const std::string path, FindProgram("gemel-dial", "helpers/dial", "GEMEL_DIAL"));
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    return ErrnoError(errno, "disk: iscsi: socketpair");
  UniqueFd vm_end(ends[0]);
  ChildFds fds;
  fds.fds.emplace_back(ends[1]);
  ASSIGN_OR_RETURN(ChildProcess process,
                   ChildProcess::Spawn(path, {"gemel-dial", "3", host, fmt::format("{}", port)},
                                       std::move(fds)));
  return IscsiDialer{std::move(process), std::move(vm_end)};
}

}  // namespace gemel::launch
