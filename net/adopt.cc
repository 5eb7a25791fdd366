#include "net/adopt.h"

#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>

#include "net/packet_socket.h"
#include "net/stream_socket.h"
#include "net/tap.h"

namespace gemel::net {
namespace {

Result<int> SocketOption(const UniqueFd& fd, int option) {
  int value = 0;
  socklen_t bytes = sizeof value;
  if (getsockopt(fd.get(), SOL_SOCKET, option, &value, &bytes) != 0)
    return ErrnoError(errno, "socket: getsockopt");
  return value;
}

}  // namespace

Result<std::unique_ptr<NetBackend>> AdoptBackend(UniqueFd fd) {
  struct stat info{};
  if (fstat(fd.get(), &info) != 0) return ErrnoError(errno, "fstat");
  if (S_ISCHR(info.st_mode)) return AdoptTap(std::move(fd));
  if (!S_ISSOCK(info.st_mode))
    return InvalidArgument("neither the descriptor of a tap nor a socket");
  ASSIGN_OR_RETURN(const int domain, SocketOption(fd, SO_DOMAIN));
  if (domain != AF_UNIX) return InvalidArgument("a socket, but not a Unix one");
  ASSIGN_OR_RETURN(const int type, SocketOption(fd, SO_TYPE));
  ASSIGN_OR_RETURN(const int listening, SocketOption(fd, SO_ACCEPTCONN));
  if (type == SOCK_STREAM) return AdoptStreamSocket(std::move(fd), listening != 0);
  if (listening != 0) return InvalidArgument("a listening socket that is not a stream");
  return AdoptPacketSocket(std::move(fd));
}

}  // namespace gemel::net
