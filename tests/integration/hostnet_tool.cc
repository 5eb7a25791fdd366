// Host networks behind a socket, for test_hostnet*.py: a command a datagram on SOCKET, and an answer:
// "ok …" or "error CODE MESSAGE", with descriptors beside it where there are any.
//   usage: hostnet_tool PREFIX STATE_DIR RUN_DIR SOCKET (a descriptor's number)
//   want-network | put-network  uid=… subnet=…|host=… [nat dhcp dns spoof domain=… mtu=…]
//   want-port | put-port        uid=… network=… mac=… [address=… hostname=… vlan=… queues=…]
//   adopt, reconcile, remove-network UID, remove-port UID, open UID, tap UID, bridge UID, problem UID,
//   leases UID
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "hostnet/host_networks.h"

namespace gemel::hostnet {
namespace {

using Words = std::map<std::string, std::string>;

Words ParseWords(std::istringstream& in) {
  Words words;
  for (std::string word; in >> word;) {
    const std::size_t equal = word.find('=');
    words[word.substr(0, equal)] = equal == std::string::npos ? "" : word.substr(equal + 1);
  }
  return words;
}

std::uint32_t Number(const Words& words, const std::string& key, std::uint32_t otherwise) {
  const auto found = words.find(key);
  return found == words.end() ? otherwise : static_cast<std::uint32_t>(std::stoul(found->second));
}

std::string Text(const Words& words, const std::string& key) {
  const auto found = words.find(key);
  return found == words.end() ? std::string() : found->second;
}

Result<NetworkSpec> ParseNetwork(const Words& words) {
  NetworkSpec network;
  network.uid = Text(words, "uid");
  network.allow_spoofing = words.contains("spoof");
  if (words.contains("host")) {
    network.kind = HostBridge{Text(words, "host")};
    return network;
  }
  ManagedBridge bridge;
  ASSIGN_OR_RETURN(bridge.subnet, ParseSubnet("managed_bridge.subnet", Text(words, "subnet")));
  bridge.nat = words.contains("nat");
  bridge.dhcp = words.contains("dhcp");
  bridge.dns = words.contains("dns");
  bridge.domain = Text(words, "domain");
  bridge.mtu = Number(words, "mtu", 1500);
  network.kind = bridge;
  return network;
}

Result<PortSpec> ParsePort(const Words& words) {
  PortSpec port;
  port.uid = Text(words, "uid");
  port.network = Text(words, "network");
  port.hostname = Text(words, "hostname");
  port.vlan = Number(words, "vlan", 0);
  port.queues = Number(words, "queues", 1);
  auto& m = port.mac;
  // NOLINTNEXTLINE(cert-err34-c)
  if (std::sscanf(Text(words, "mac").c_str(), "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx", &m[0], &m[1],
                  &m[2], &m[3], &m[4], &m[5]) != 6)
    return InvalidArgument("mac");
  if (words.contains("address")) {
    ASSIGN_OR_RETURN(port.address, ParseIpv4("ip_address", Text(words, "address")));
  }
  return port;
}

struct Answer {
  std::string text;
  std::vector<UniqueFd> fds;
};

class Tool {
 public:
  Tool(HostNetworks* networks, EventLoop* loop, int socket)
      : networks_(networks), loop_(loop), socket_(socket) {}

  void OnReadable() {
    std::array<char, 4096> buffer{};
    const ssize_t n = recv(socket_, buffer.data(), buffer.size(), 0);
    if (n <= 0) return loop_->Stop();
    auto answer = Do(std::string(buffer.data(), static_cast<std::size_t>(n)));
    if (!answer)
      return Send({fmt::format("error {} {}", static_cast<int>(answer.error().code),
                               answer.error().message),
                   {}});
    Send(*answer);
  }

 private:
  Result<Answer> Do(const std::string& command) {
    std::istringstream in(command);
    std::string verb;
    in >> verb;
    if (verb.ends_with("-network") && verb != "remove-network") {
      ASSIGN_OR_RETURN(const NetworkSpec network, ParseNetwork(ParseWords(in)));
      if (verb == "want-network") wanted_networks_.push_back(network);
      return Said(verb == "want-network" ? Status() : networks_->PutNetwork(network));
    }
    if (verb.ends_with("-port") && verb != "remove-port") {
      ASSIGN_OR_RETURN(const PortSpec port, ParsePort(ParseWords(in)));
      if (verb == "want-port") wanted_ports_.push_back(port);
      return Said(verb == "want-port" ? Status() : networks_->PutPort(port));
    }
    std::string uid;
    in >> uid;
    return Do(verb, uid);
  }

  Result<Answer> Do(const std::string& verb, const std::string& uid) {
    if (verb == "adopt") return Said(networks_->Adopt(wanted_networks_, wanted_ports_));
    if (verb == "reconcile") return Said(networks_->Reconcile());
    if (verb == "remove-network") return Said(networks_->RemoveNetwork(uid));
    if (verb == "remove-port") return Said(networks_->RemovePort(uid));
    if (verb == "tap") return Answer{"ok " + networks_->TapOf(uid), {}};
    if (verb == "bridge") return Answer{"ok " + networks_->BridgeOf(uid), {}};
    if (verb == "problem") return Answer{"ok " + networks_->Problem(uid), {}};
    if (verb == "open") {
      ASSIGN_OR_RETURN(auto fds, networks_->OpenPort(uid));
      return Answer{"ok", std::move(fds)};
    }
    if (verb != "leases") return InvalidArgument("verb \"{}\"", verb);
    ASSIGN_OR_RETURN(const auto leases, networks_->Leases(uid));
    std::string text = "ok";
    for (const Lease& lease : leases)
      text += fmt::format(" {:02x},{},{}", fmt::join(lease.mac, ":"), ToText(lease.address),
                          lease.hostname);
    return Answer{text, {}};
  }

  static Result<Answer> Said(const Status& status) {
    if (!status) return std::unexpected(status.error());
    return Answer{"ok", {}};
  }

  void Send(const Answer& answer) {
    iovec text{const_cast<char*>(answer.text.data()), answer.text.size()};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * 16)> control{};
    msghdr message{};
    message.msg_iov = &text;
    message.msg_iovlen = 1;
    if (!answer.fds.empty()) {
      message.msg_control = control.data();
      message.msg_controllen = CMSG_SPACE(sizeof(int) * answer.fds.size());
      cmsghdr* header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      header->cmsg_len = CMSG_LEN(sizeof(int) * answer.fds.size());
      for (std::size_t i = 0; i < answer.fds.size(); ++i) {
        const int fd = answer.fds[i].get();
        std::memcpy(CMSG_DATA(header) + i * sizeof fd, &fd, sizeof fd);
      }
    }
    static_cast<void>(sendmsg(socket_, &message, 0));
  }

  HostNetworks* networks_;
  EventLoop* loop_;
  int socket_;
  std::vector<NetworkSpec> wanted_networks_;
  std::vector<PortSpec> wanted_ports_;
};

Status Run(char** argv) {
  const int socket = std::atoi(argv[4]);
  fcntl(socket, F_SETFD, FD_CLOEXEC);
  ASSIGN_OR_RETURN(const auto loop, EventLoop::Create());
  ASSIGN_OR_RETURN(const Names names, Names::Create(argv[1]));
  HostOptions options;
  options.run_dir = argv[3];
  ASSIGN_OR_RETURN(Host host, OpenHost(options, loop.get()));
  HostNetworks networks({names, argv[2]}, std::move(host));
  Tool tool(&networks, loop.get(), socket);
  RETURN_IF_ERROR(loop->Watch(socket, EPOLLIN, [&](std::uint32_t) { tool.OnReadable(); }));
  loop->Run();
  return {};
}

}  // namespace
}  // namespace gemel::hostnet

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  const auto done = gemel::hostnet::Run(argv);
  if (done) return 0;
  std::fprintf(stderr, "%s\n", done.error().message.c_str());
  return 1;
}
