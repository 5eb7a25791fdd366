#include "hostnet/netlink_links.h"

#include <fcntl.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <netlink/errno.h>
#include <netlink/handlers.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <functional>
#include <utility>

namespace gemel::hostnet {
namespace {

using Message = std::unique_ptr<nl_msg, decltype(&nlmsg_free)>;
using Socket = std::unique_ptr<nl_sock, decltype(&nl_socket_free)>;
using Visit = std::function<void(nlmsghdr*)>;

int CodeOf(int nl_error) {
  switch (-nl_error) {
    case NLE_EXIST:
      return EEXIST;
    case NLE_PERM:
      return EPERM;
    case NLE_OPNOTSUPP:
      return EOPNOTSUPP;
    case NLE_NODEV:
    case NLE_OBJ_NOTFOUND:
      return ENODEV;
    case NLE_BUSY:
      return EBUSY;
    case NLE_NOMEM:
      return ENOMEM;
    case NLE_INVAL:
      return EINVAL;
    default:
      return EIO;
  }
}

std::unexpected<Error> NetlinkError(int nl_error, std::string_view what) {
  return MakeError(CodeFromErrno(CodeOf(nl_error)),
                   fmt::format("{}: {}", what, nl_geterror(nl_error)));
}

int OnMessage(nl_msg* message, void* visit) {
  (*static_cast<Visit*>(visit))(nlmsg_hdr(message));
  return NL_OK;
}

Ipv4 AddressIn(nlattr* attribute) {
  std::array<std::uint8_t, 4> bytes{};
  if (attribute == nullptr || nla_len(attribute) != 4) return {};
  std::memcpy(bytes.data(), nla_data(attribute), bytes.size());
  return {static_cast<std::uint32_t>(bytes[0]) << 24 | static_cast<std::uint32_t>(bytes[1]) << 16 |
          static_cast<std::uint32_t>(bytes[2]) << 8 | bytes[3]};
}

std::array<std::uint8_t, 4> BytesOf(Ipv4 address) {
  return {static_cast<std::uint8_t>(address.value >> 24),
          static_cast<std::uint8_t>(address.value >> 16),
          static_cast<std::uint8_t>(address.value >> 8), static_cast<std::uint8_t>(address.value)};
}

void ReadLinkInfo(nlattr* info, Link* link) {
  std::array<nlattr*, IFLA_INFO_MAX + 1> parts{};
  if (nla_parse_nested(parts.data(), IFLA_INFO_MAX, info, nullptr) < 0) return;
  if (parts[IFLA_INFO_KIND] != nullptr) link->kind = nla_get_string(parts[IFLA_INFO_KIND]);
  if (link->kind != "bridge" || parts[IFLA_INFO_DATA] == nullptr) return;
  std::array<nlattr*, IFLA_BR_MAX + 1> bridge{};
  if (nla_parse_nested(bridge.data(), IFLA_BR_MAX, parts[IFLA_INFO_DATA], nullptr) < 0) return;
  if (bridge[IFLA_BR_VLAN_FILTERING] != nullptr)
    link->vlan_filtering = nla_get_u8(bridge[IFLA_BR_VLAN_FILTERING]) != 0;
  if (bridge[IFLA_BR_VLAN_DEFAULT_PVID] != nullptr)
    link->default_vlan = nla_get_u16(bridge[IFLA_BR_VLAN_DEFAULT_PVID]);
}

Link ReadLink(nlmsghdr* header) {
  Link link;
  const auto* info = static_cast<ifinfomsg*>(nlmsg_data(header));
  std::array<nlattr*, IFLA_MAX + 1> parts{};
  if (nlmsg_parse(header, sizeof *info, parts.data(), IFLA_MAX, nullptr) < 0) return link;
  link.index = info->ifi_index;
  link.up = (info->ifi_flags & IFF_UP) != 0;
  if (parts[IFLA_IFNAME] != nullptr) link.name = nla_get_string(parts[IFLA_IFNAME]);
  if (parts[IFLA_MTU] != nullptr) link.mtu = nla_get_u32(parts[IFLA_MTU]);
  if (parts[IFLA_MASTER] != nullptr)
    link.bridge = static_cast<int>(nla_get_u32(parts[IFLA_MASTER]));
  if (parts[IFLA_ADDRESS] != nullptr && nla_len(parts[IFLA_ADDRESS]) == 6)
    std::memcpy(link.mac.data(), nla_data(parts[IFLA_ADDRESS]), link.mac.size());
  if (parts[IFLA_LINKINFO] != nullptr) ReadLinkInfo(parts[IFLA_LINKINFO], &link);
  return link;
}

class NetlinkLinks : public Links {
 public:
  explicit NetlinkLinks(Socket socket) : socket_(std::move(socket)) {}

  Result<std::vector<Link>> List() override;
  Result<std::vector<Reach>> Addresses() override;
  Result<std::vector<Reach>> Routes() override;
  Status MakeBridge(const BridgeWish& wish) override;
  Status SetVlanFiltering(const Link& bridge) override;
  Status Remove(const Link& link) override;
  Status AddAddress(const Link& link, Ipv4 address, const Subnet& subnet) override;
  Status SetUp(const Link& link) override;
  Status SetMtu(const Link& link, std::uint32_t mtu) override;
  Status SetMac(const Link& link, const MacAddress& mac) override;
  Status SetBridge(const Link& port, const Link& bridge) override;
  Status SetPortVlan(const Link& port, std::uint32_t vlan, std::uint32_t previous) override;
  Result<std::vector<UniqueFd>> MakeTap(const std::string& name, std::uint32_t queues) override;

 private:
  Status Dump(int type, const void* body, std::size_t size, Visit visit);
  // Sends and waits for the kernel's word; libnl's error number.
  int Ask(Message message);
  Status Change(const Link& link, int type, std::uint32_t flags,
                const std::function<void(nl_msg*)>& fill, std::string_view what);
  int AskPortVlan(const Link& port, int type, std::uint32_t vlan, std::uint16_t flags);

  Socket socket_;
};

Status NetlinkLinks::Dump(int type, const void* body, std::size_t size, Visit visit) {
  // One that was interrupted by a change gives a mix of before and after.
  for (int attempt = 0;; ++attempt) {
    Message message(nlmsg_alloc_simple(type, NLM_F_DUMP), nlmsg_free);
    if (!message || nlmsg_append(message.get(), const_cast<void*>(body), size, NLMSG_ALIGNTO) < 0)
      return MakeError(Code::kResourceExhausted, "netlink: no memory");
    nl_socket_modify_cb(socket_.get(), NL_CB_VALID, NL_CB_CUSTOM, OnMessage, &visit);
    int error = nl_send_auto(socket_.get(), message.get());
    if (error >= 0) error = nl_recvmsgs_default(socket_.get());
    if (error >= 0) return {};
    if (error != -NLE_DUMP_INTR || attempt == 10) return NetlinkError(error, "netlink: list");
  }
}

int NetlinkLinks::Ask(Message message) {
  if (!message) return -NLE_NOMEM;
  return nl_send_sync(socket_.get(), message.release());  // which frees it
}

Result<std::vector<Link>> NetlinkLinks::List() {
  std::vector<Link> links;
  const ifinfomsg all{};
  RETURN_IF_ERROR(Dump(RTM_GETLINK, &all, sizeof all, [&links](nlmsghdr* header) {
    if (header->nlmsg_type != RTM_NEWLINK) return;
    Link link = ReadLink(header);
    // One that changed during the dump may come twice.
    if (link.index != 0 && std::ranges::find(links, link.index, &Link::index) == links.end())
      links.push_back(std::move(link));
  }));
  return links;
}

Result<std::vector<Reach>> NetlinkLinks::Addresses() {
  std::vector<Reach> found;
  ifaddrmsg all{};
  all.ifa_family = AF_INET;
  RETURN_IF_ERROR(Dump(RTM_GETADDR, &all, sizeof all, [&found](nlmsghdr* header) {
    const auto* info = static_cast<ifaddrmsg*>(nlmsg_data(header));
    std::array<nlattr*, IFA_MAX + 1> parts{};
    if (nlmsg_parse(header, sizeof *info, parts.data(), IFA_MAX, nullptr) < 0) return;
    Reach reach{
        static_cast<int>(info->ifa_index), {{}, info->ifa_prefixlen}, AddressIn(parts[IFA_LOCAL])};
    reach.subnet.base = {AddressIn(parts[IFA_ADDRESS]).value & reach.subnet.mask()};
    found.push_back(reach);
  }));
  return found;
}

Result<std::vector<Reach>> NetlinkLinks::Routes() {
  std::vector<Reach> found;
  rtmsg all{};
  all.rtm_family = AF_INET;
  RETURN_IF_ERROR(Dump(RTM_GETROUTE, &all, sizeof all, [&found](nlmsghdr* header) {
    const auto* info = static_cast<rtmsg*>(nlmsg_data(header));
    std::array<nlattr*, RTA_MAX + 1> parts{};
    if (nlmsg_parse(header, sizeof *info, parts.data(), RTA_MAX, nullptr) < 0) return;
    if (info->rtm_dst_len == 0 || info->rtm_type != RTN_UNICAST || parts[RTA_OIF] == nullptr)
      return;
    Reach reach{static_cast<int>(nla_get_u32(parts[RTA_OIF])), {{}, info->rtm_dst_len}, {}};
    reach.subnet.base = {AddressIn(parts[RTA_DST]).value & reach.subnet.mask()};
    found.push_back(reach);
  }));
  return found;
}

Status NetlinkLinks::MakeBridge(const BridgeWish& wish) {
  Message message(nlmsg_alloc_simple(RTM_NEWLINK, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL),
                  nlmsg_free);
  if (!message) return MakeError(Code::kResourceExhausted, "netlink: no memory");
  nl_msg* out = message.get();
  const ifinfomsg none{};
  nlmsg_append(out, const_cast<ifinfomsg*>(&none), sizeof none, NLMSG_ALIGNTO);
  nla_put_string(out, IFLA_IFNAME, wish.name.c_str());
  nla_put(out, IFLA_ADDRESS, static_cast<int>(wish.mac.size()), wish.mac.data());
  nla_put_u32(out, IFLA_MTU, wish.mtu);
  nlattr* info = nla_nest_start(out, IFLA_LINKINFO);
  nla_put_string(out, IFLA_INFO_KIND, "bridge");
  nlattr* data = nla_nest_start(out, IFLA_INFO_DATA);
  nla_put_u32(out, IFLA_BR_FORWARD_DELAY, 0);
  nla_put_u32(out, IFLA_BR_STP_STATE, 0);
  nla_nest_end(out, data);
  nla_nest_end(out, info);
  if (const int error = Ask(std::move(message)); error < 0)
    return NetlinkError(error, fmt::format("bridge {}", wish.name));
  return {};
}

Status NetlinkLinks::Change(const Link& link, int type, std::uint32_t flags,
                            const std::function<void(nl_msg*)>& fill, std::string_view what) {
  Message message(nlmsg_alloc_simple(type, NLM_F_REQUEST), nlmsg_free);
  if (!message) return MakeError(Code::kResourceExhausted, "netlink: no memory");
  ifinfomsg which{};
  which.ifi_index = link.index;
  which.ifi_flags = flags;
  which.ifi_change = flags;
  nlmsg_append(message.get(), &which, sizeof which, NLMSG_ALIGNTO);
  fill(message.get());
  const int error = Ask(std::move(message));
  return error < 0 ? Status(NetlinkError(error, fmt::format("{}: {}", link.name, what))) : Status();
}

Status NetlinkLinks::SetVlanFiltering(const Link& bridge) {
  auto done = Change(
      bridge, RTM_NEWLINK, 0,
      [](nl_msg* out) {
        nlattr* info = nla_nest_start(out, IFLA_LINKINFO);
        nla_put_string(out, IFLA_INFO_KIND, "bridge");
        nlattr* data = nla_nest_start(out, IFLA_INFO_DATA);
        nla_put_u8(out, IFLA_BR_VLAN_FILTERING, 1);
        nla_nest_end(out, data);
        nla_nest_end(out, info);
      },
      "vlan_filtering");
  if (done) return done;
  return MakeError(
      Code::kUnimplemented,
      "this host's kernel cannot filter VLANs at a bridge (CONFIG_BRIDGE_VLAN_FILTERING)");
}

Status NetlinkLinks::Remove(const Link& link) {
  return Change(link, RTM_DELLINK, 0, [](nl_msg*) {}, "remove");
}

Status NetlinkLinks::AddAddress(const Link& link, Ipv4 address, const Subnet& subnet) {
  Message message(nlmsg_alloc_simple(RTM_NEWADDR, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_REPLACE),
                  nlmsg_free);
  if (!message) return MakeError(Code::kResourceExhausted, "netlink: no memory");
  ifaddrmsg which{};
  which.ifa_family = AF_INET;
  which.ifa_prefixlen = static_cast<std::uint8_t>(subnet.prefix);
  which.ifa_index = static_cast<std::uint32_t>(link.index);
  nlmsg_append(message.get(), &which, sizeof which, NLMSG_ALIGNTO);
  const auto own = BytesOf(address);
  const auto all = BytesOf(subnet.broadcast());
  nla_put(message.get(), IFA_LOCAL, 4, own.data());
  nla_put(message.get(), IFA_ADDRESS, 4, own.data());
  nla_put(message.get(), IFA_BROADCAST, 4, all.data());
  if (const int error = Ask(std::move(message)); error < 0)
    return NetlinkError(error, fmt::format("{}: address {}", link.name, ToText(address)));
  return {};
}

Status NetlinkLinks::SetUp(const Link& link) {
  return Change(link, RTM_NEWLINK, IFF_UP, [](nl_msg*) {}, "up");
}

Status NetlinkLinks::SetMtu(const Link& link, std::uint32_t mtu) {
  return Change(
      link, RTM_NEWLINK, 0, [mtu](nl_msg* out) { nla_put_u32(out, IFLA_MTU, mtu); },
      fmt::format("mtu {}", mtu));
}

Status NetlinkLinks::SetMac(const Link& link, const MacAddress& mac) {
  return Change(
      link, RTM_NEWLINK, 0,
      [&mac](nl_msg* out) { nla_put(out, IFLA_ADDRESS, static_cast<int>(mac.size()), mac.data()); },
      "address");
}

Status NetlinkLinks::SetBridge(const Link& port, const Link& bridge) {
  return Change(
      port, RTM_NEWLINK, 0,
      [&bridge](nl_msg* out) {
        nla_put_u32(out, IFLA_MASTER, static_cast<std::uint32_t>(bridge.index));
      },
      fmt::format("port of {}", bridge.name));
}

int NetlinkLinks::AskPortVlan(const Link& port, int type, std::uint32_t vlan, std::uint16_t flags) {
  Message message(nlmsg_alloc_simple(type, NLM_F_REQUEST), nlmsg_free);
  if (!message) return -NLE_NOMEM;
  ifinfomsg which{};
  which.ifi_family = AF_BRIDGE;
  which.ifi_index = port.index;
  nlmsg_append(message.get(), &which, sizeof which, NLMSG_ALIGNTO);
  nlattr* nest = nla_nest_start(message.get(), IFLA_AF_SPEC);
  const bridge_vlan_info info{flags, static_cast<std::uint16_t>(vlan)};
  nla_put(message.get(), IFLA_BRIDGE_VLAN_INFO, sizeof info, &info);
  nla_nest_end(message.get(), nest);
  return Ask(std::move(message));
}

Status NetlinkLinks::SetPortVlan(const Link& port, std::uint32_t vlan, std::uint32_t previous) {
  const std::string what = fmt::format("{}: vlan {}", port.name, vlan);
  int error =
      AskPortVlan(port, RTM_SETLINK, vlan, BRIDGE_VLAN_INFO_PVID | BRIDGE_VLAN_INFO_UNTAGGED);
  // Gone already, if it was done before.
  if (error >= 0 && previous != 0 && previous != vlan)
    static_cast<void>(AskPortVlan(port, RTM_DELLINK, previous, 0));
  return error < 0 ? Status(NetlinkError(error, what)) : Status();
}

Result<std::vector<UniqueFd>> NetlinkLinks::MakeTap(const std::string& name, std::uint32_t queues) {
  std::vector<UniqueFd> fds;
  for (std::uint32_t i = 0; i < queues; ++i) {
    UniqueFd fd(open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK));
    if (!fd) return ErrnoError(errno, "/dev/net/tun");
    ifreq request{};
    std::memcpy(request.ifr_name, name.data(), std::min(name.size(), sizeof request.ifr_name - 1));
    // The first one makes it, so that a machine's that is there is never shared.
    const int flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (queues > 1 ? IFF_MULTI_QUEUE : 0) |
                      (i == 0 ? IFF_TUN_EXCL : 0);
    request.ifr_flags = static_cast<short>(flags);
    if (ioctl(fd.get(), TUNSETIFF, &request) != 0) {
      if (i == 0 && (errno == EBUSY || errno == EEXIST))
        return MakeError(Code::kAlreadyExists, fmt::format("tap {}: in use by a machine", name));
      return ErrnoError(errno, fmt::format("tap {}", name));
    }
    fds.push_back(std::move(fd));
  }
  return fds;
}

}  // namespace

Result<std::unique_ptr<Links>> OpenNetlinkLinks() {
  Socket socket(nl_socket_alloc(), nl_socket_free);
  if (!socket) return MakeError(Code::kResourceExhausted, "netlink: no memory");
  if (const int error = nl_connect(socket.get(), NETLINK_ROUTE); error < 0)
    return NetlinkError(error, "netlink");
  return std::make_unique<NetlinkLinks>(std::move(socket));
}

}  // namespace gemel::hostnet
