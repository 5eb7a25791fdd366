#include "launch/run_networks.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/file_util.h"
#include "launch/hint.h"
#include "net/host_interface.h"
#include "net/interface_counters.h"

namespace gemel::launch {
namespace {

using Kind = NetConfig::Kind;

Result<std::vector<UniqueFd>> TakeDescriptors(const NetConfig& net) {
  std::vector<UniqueFd> fds;
  for (const int number : net.fds) {
    UniqueFd copy(fcntl(number, F_DUPFD_CLOEXEC, 3));
    if (!copy) return ErrnoError(errno, fmt::format("net: fd={}", number));
    fds.push_back(std::move(copy));
  }
  for (const int number : net.fds) close(number);  // only ours is to be left, also across exec
  return fds;
}

// Two machines of one name on one host differ in the interface or the side of the socket; hosts
// differ in their machine id.
std::string Identity(const MachineConfig& config, const NetConfig& net, bool listening) {
  std::string host;
  if (const auto id = ReadTextFile("/etc/machine-id")) host = *id;
  return fmt::format("{}/{}/{}{}{}", host, config.name, net.name, net.path, listening ? "/0" : "");
}

Result<HostNetwork> Open(NetConfig& net) {
  HostNetwork opened;
  std::vector<UniqueFd>& queues = opened.fds.queues;
  switch (net.kind) {
    case Kind::kTap: {
      ASSIGN_OR_RETURN(queues, net::OpenTapInterface({net.name, net.queues, net.mtu}));
      return opened;
    }
    case Kind::kMacvtap: {
      ASSIGN_OR_RETURN(queues, net::OpenMacvtapInterface({net.name, net.queues, net.mtu}));
      if (net.mac) return opened;
      ASSIGN_OR_RETURN(const std::string address, net::InterfaceAddress(net.name));
      ASSIGN_OR_RETURN(net.mac, ParseMac("macvtap", address));
      return opened;
    }
    case Kind::kFd: {
      ASSIGN_OR_RETURN(queues, TakeDescriptors(net));
      return opened;
    }
    case Kind::kSocket: {
      bool listening = false;
      ASSIGN_OR_RETURN(UniqueFd fd, net::OpenSocketPath(net.path, &listening));
      queues.push_back(std::move(fd));
      if (listening) opened.new_socket = net.path;
      return opened;
    }
    case Kind::kUser:
      break;
  }
  return MakeError(Code::kInternal, "user: opened elsewhere");
}

// What the kernel can serve, and do all that was asked for.
bool FitsVhost(const NetConfig& net) {
  const bool tap = net.kind == Kind::kTap || net.kind == Kind::kMacvtap;
  return tap && net.rx == NetLimit{} && net.tx == NetLimit{};
}

void Settle(MachineConfig& config, std::size_t index, bool listening) {
  NetConfig& net = config.nets[index];
  if (!net.mac)
    net.mac = DeriveMac(Identity(config, net, listening), static_cast<std::uint32_t>(index));
}

}  // namespace

Result<HostNetwork> OpenHostNetwork(MachineConfig& config, std::size_t index) {
  auto opened = Open(config.nets[index]);
  if (!opened) return WithContext(opened.error(), "net");
  Settle(config, index, !opened->new_socket.empty());
  return opened;
}

Status OpenVhost(const NetConfig& net, NetFds& fds) {
  const bool required = net.vhost == VhostMode::kOn;
  if (net.vhost == VhostMode::kOff || (!required && !FitsVhost(net))) return {};
  std::vector<UniqueFd> vhosts;
  for (std::size_t i = 0; i < fds.queues.size(); ++i) {
    UniqueFd fd(open("/dev/vhost-net", O_RDWR | O_CLOEXEC));
    if (!fd && !required) return {};
    if (!fd)
      return std::unexpected(WithHint(ErrnoError(errno, "net: vhost=on: /dev/vhost-net").error(),
                                      "modprobe vhost_net"));
    vhosts.push_back(std::move(fd));
  }
  fds.vhost = std::move(vhosts);
  // Frames move without counters, too.
  if (auto counters = net::OpenInterfaceCounters(fds.queues[0].get()))
    fds.counters = std::move(*counters);
  return {};
}

void SettleAddress(MachineConfig& config, std::size_t index) { Settle(config, index, false); }

}  // namespace gemel::launch
