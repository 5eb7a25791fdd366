#include "launch/unix_socket.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace gemel::launch {
namespace {

std::unexpected<Error> Problem(std::string_view argument, std::string_view shown, int error) {
  return ErrnoError(error, fmt::format("{}: {}", argument, shown));
}

Result<sockaddr_un> Address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return ErrnoError(ENAMETOOLONG, path);
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

// SAFETY: sockaddr_un is a sockaddr by the sockets interface.
const sockaddr* Generic(const sockaddr_un& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

UniqueFd NewSocket() {
  return UniqueFd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

// Removes a socket that nobody listens on any more.
Status RemoveStale(std::string_view argument, const std::string& path, std::string_view shown,
                   const sockaddr_un& address) {
  struct stat info{};
  if (lstat(path.c_str(), &info) != 0) return {};
  if (!S_ISSOCK(info.st_mode))
    return InvalidArgument("{}: {}: exists and is not a socket", argument, shown);
  const UniqueFd probe = NewSocket();
  if (connect(probe.get(), Generic(address), sizeof address) == 0 || errno != ECONNREFUSED)
    return InvalidArgument("{}: {}: in use by another process", argument, shown);
  if (unlink(path.c_str()) != 0) return Problem(argument, shown, errno);
  return {};
}

}  // namespace

Result<ListeningSocket> ListenUnix(std::string_view argument, const std::string& path,
                                   const std::string& shown, int backlog) {
  ASSIGN_OR_RETURN(const sockaddr_un address, Address(path));
  RETURN_IF_ERROR(RemoveStale(argument, path, shown, address));
  ListeningSocket listening;
  listening.fd = NewSocket();
  if (!listening.fd) return Problem(argument, shown, errno);
  const mode_t mask = umask(0077);
  const int bound = bind(listening.fd.get(), Generic(address), sizeof address);
  const int error = errno;
  umask(mask);
  if (bound != 0) return Problem(argument, shown, error);
  listening.file = CreatedFile(path);
  if (listen(listening.fd.get(), backlog) != 0) return Problem(argument, shown, errno);
  return listening;
}

Result<UniqueFd> ConnectUnix(const std::string& path) {
  ASSIGN_OR_RETURN(const sockaddr_un address, Address(path));
  UniqueFd fd = NewSocket();
  if (!fd || connect(fd.get(), Generic(address), sizeof address) != 0)
    return ErrnoError(errno, path);
  return fd;
}

}  // namespace gemel::launch
