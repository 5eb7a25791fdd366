#include "net/host_interface.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

namespace gemel::net {
namespace {

// cli/report.h: what to do travels behind a zero byte.
std::unexpected<Error> Advise(std::unexpected<Error> problem, std::string_view advice) {
  Error error = std::move(problem).error();
  error.message += '\0';
  error.message += advice;
  return std::unexpected(std::move(error));
}

ifreq RequestFor(const std::string& name) {
  ifreq request{};
  std::memcpy(request.ifr_name, name.data(), std::min(name.size(), sizeof request.ifr_name - 1));
  return request;
}

std::unexpected<Error> TapProblem(const TapRequest& wanted, int error) {
  const std::string what = fmt::format("tap={}", wanted.name);
  if (error == EPERM)
    return Advise(
        ErrnoError(error, what),
        fmt::format("as root: ip tuntap add {} mode tap user $USER{} && ip link set {} up",
                    wanted.name, wanted.queues > 1 ? " multi_queue" : "", wanted.name));
  if (error == EBUSY)
    return Advise(ErrnoError(error, what), "another program has this interface open");
  if (error == EINVAL)
    return Advise(ErrnoError(error, what),
                  wanted.queues > 1 ? "is it a tap with multi_queue?" : "is it a tap?");
  return ErrnoError(error, what);
}

// An interface that is there must be attached as it was made: with IFF_MULTI_QUEUE or without.
int AttachOne(int fd, const TapRequest& wanted) {
  constexpr int kFlags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  const bool several = wanted.queues > 1;
  for (const int more : {several ? IFF_MULTI_QUEUE : 0, IFF_MULTI_QUEUE}) {
    ifreq request = RequestFor(wanted.name);
    request.ifr_flags = static_cast<short>(kFlags | more);
    if (ioctl(fd, TUNSETIFF, &request) == 0) return 0;
    if (errno != EINVAL) return errno;
  }
  return EINVAL;
}

// Up, with the MTU asked for.
Status Configure(const TapRequest& wanted, std::string_view key) {
  const UniqueFd control(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!control) return ErrnoError(errno, "socket");
  ifreq request = RequestFor(wanted.name);
  if (wanted.mtu != 0) {
    if (ioctl(control.get(), SIOCGIFMTU, &request) != 0)
      return ErrnoError(errno, fmt::format("{}={}: mtu", key, wanted.name));
    if (request.ifr_mtu != static_cast<int>(wanted.mtu)) {
      request.ifr_mtu = static_cast<int>(wanted.mtu);
      if (ioctl(control.get(), SIOCSIFMTU, &request) != 0)
        return Advise(ErrnoError(errno, fmt::format("{}={}: mtu={}", key, wanted.name, wanted.mtu)),
                      fmt::format("as root: ip link set {} mtu {}", wanted.name, wanted.mtu));
    }
  }
  // One that stays down may be somebody's wish, and somebody else may have to bring it up.
  request = RequestFor(wanted.name);
  if (ioctl(control.get(), SIOCGIFFLAGS, &request) == 0 && (request.ifr_flags & IFF_UP) == 0) {
    request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
    static_cast<void>(ioctl(control.get(), SIOCSIFFLAGS, &request));
  }
  return {};
}

// REQUIRES: `path` fits with its zero.
sockaddr_un AddressOf(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), std::min(path.size(), sizeof address.sun_path - 1));
  return address;
}

const sockaddr* Generic(const sockaddr_un& address) {
  // SAFETY: sockaddr_un is a sockaddr by the sockets interface.
  return reinterpret_cast<const sockaddr*>(&address);
}

Result<UniqueFd> NewSocket() {
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return ErrnoError(errno, "socket");
  return fd;
}

// Empty if something is at `path` already. The socket appears there listening, so that one which
// refuses a connection is nobody's any more.
Result<UniqueFd> ListenAt(const std::string& path, const std::string& what) {
  const std::string temporary = fmt::format("{}.{}", path, getpid());
  const sockaddr_un address = AddressOf(temporary);
  if (temporary.size() >= sizeof address.sun_path)
    return InvalidArgument("{}: longer than {} bytes", what,
                           path.size() + sizeof address.sun_path - 1 - temporary.size());
  ASSIGN_OR_RETURN(UniqueFd fd, NewSocket());
  const mode_t mask = umask(0077);  // the network is the owner's
  const int bound = bind(fd.get(), Generic(address), sizeof address);
  const int error = errno;
  umask(mask);
  if (bound != 0) return ErrnoError(error, what);
  const bool there = listen(fd.get(), 1) == 0 && link(temporary.c_str(), path.c_str()) == 0;
  const int why = errno;
  unlink(temporary.c_str());
  if (there) return fd;
  if (why == EEXIST) return UniqueFd();
  return ErrnoError(why, what);
}

}  // namespace

Result<std::vector<UniqueFd>> OpenTapInterface(const TapRequest& wanted) {
  std::vector<UniqueFd> fds;
  for (std::uint32_t i = 0; i < wanted.queues; ++i) {
    UniqueFd fd(open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK));
    if (!fd)
      return Advise(ErrnoError(errno, fmt::format("tap={}: /dev/net/tun", wanted.name)),
                    "as root: modprobe tun");
    if (const int error = AttachOne(fd.get(), wanted); error != 0) return TapProblem(wanted, error);
    fds.push_back(std::move(fd));
  }
  RETURN_IF_ERROR(Configure(wanted, "tap"));
  return fds;
}

Result<std::vector<UniqueFd>> OpenMacvtapInterface(const TapRequest& wanted) {
  const unsigned index = if_nametoindex(wanted.name.c_str());
  if (index == 0)
    return Advise(ErrnoError(errno, fmt::format("macvtap={}", wanted.name)),
                  fmt::format("as root: ip link add link eth0 name {} type macvtap mode bridge",
                              wanted.name));
  const std::string path = fmt::format("/dev/tap{}", index);
  std::vector<UniqueFd> fds;
  for (std::uint32_t i = 0; i < wanted.queues; ++i) {
    UniqueFd fd(open(path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK));
    if (!fd)
      return Advise(ErrnoError(errno, fmt::format("macvtap={}: {}", wanted.name, path)),
                    "is it a macvtap, and may you open its device?");
    ifreq request = RequestFor(wanted.name);
    request.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR |
                                           (wanted.queues > 1 ? IFF_MULTI_QUEUE : 0));
    if (ioctl(fd.get(), TUNSETIFF, &request) != 0)
      return ErrnoError(errno, fmt::format("macvtap={}: {}", wanted.name, path));
    fds.push_back(std::move(fd));
  }
  RETURN_IF_ERROR(Configure(wanted, "macvtap"));
  return fds;
}

Result<std::string> InterfaceAddress(const std::string& name) {
  const UniqueFd control(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!control) return ErrnoError(errno, "socket");
  ifreq request = RequestFor(name);
  if (ioctl(control.get(), SIOCGIFHWADDR, &request) != 0)
    return ErrnoError(errno, fmt::format("{}: its address", name));
  const auto byte = [&](int i) {
    return static_cast<unsigned char>(request.ifr_hwaddr.sa_data[i]);
  };
  return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", byte(0), byte(1), byte(2),
                     byte(3), byte(4), byte(5));
}

Result<UniqueFd> OpenSocketPath(const std::string& path, bool* listening) {
  const std::string what = fmt::format("socket={}", path);
  const sockaddr_un address = AddressOf(path);
  // Both may come at once, or the first may go at the wrong moment: then once more.
  for (int tries = 0; tries < 5; ++tries) {
    *listening = false;
    ASSIGN_OR_RETURN(UniqueFd fd, NewSocket());
    if (connect(fd.get(), Generic(address), sizeof address) == 0) return fd;
    if (errno != ENOENT && errno != ECONNREFUSED) return ErrnoError(errno, what);
    struct stat info{};
    if (lstat(path.c_str(), &info) == 0) {
      if (!S_ISSOCK(info.st_mode)) return InvalidArgument("{}: exists and is not a socket", what);
      unlink(path.c_str());  // nobody listens: see ListenAt
    }
    *listening = true;
    ASSIGN_OR_RETURN(fd, ListenAt(path, what));
    if (fd) return fd;
  }
  return InvalidArgument("{}: others come and go there", what);
}

}  // namespace gemel::net
