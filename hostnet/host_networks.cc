#include "hostnet/host_networks.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "hostnet/netlink_links.h"
#include "hostnet/rules.h"

namespace gemel::hostnet {
namespace {

const Link* LinkNamed(const std::vector<Link>& links, std::string_view name) {
  const auto found = std::ranges::find(links, name, &Link::name);
  return found == links.end() ? nullptr : &*found;
}

// Locally administered, and the same for the same uid: guests keep what they know of a gateway.
MacAddress MacOf(std::uint8_t first, std::string_view uid) {
  const std::uint64_t hash = StableHash(uid);
  MacAddress mac{first, 0x67};
  for (std::size_t i = 2; i < mac.size(); ++i)
    mac[i] = static_cast<std::uint8_t>(hash >> (8 * (i - 2)));
  return mac;
}

std::string IdOf(const std::string& bridge_name) { return bridge_name; }

}  // namespace

Result<Host> OpenHost(const HostOptions& options, EventLoop* loop) {
  Host host;
  ASSIGN_OR_RETURN(host.links, OpenNetlinkLinks());
  ASSIGN_OR_RETURN(host.firewall, OpenNftables());
  host.sysctls = SystemSysctls();
  DnsmasqOptions dnsmasq;
  dnsmasq.program = options.dnsmasq;
  dnsmasq.folder = options.run_dir + "/networks";
  ASSIGN_OR_RETURN(host.name_servers, OpenDnsmasq(std::move(dnsmasq), loop));
  return host;
}

HostNetworks::HostNetworks(Options options, Host host)
    : options_(std::move(options)),
      host_(std::move(host)),
      forwarding_(host_.sysctls.get(), options_.state_dir + "/forwarding", BootId()) {}

// ---- what is wanted -------------------------------------------------------------------------------

Status HostNetworks::Adopt(std::vector<NetworkSpec> networks, std::vector<PortSpec> ports) {
  networks_ = std::move(networks);
  ports_ = std::move(ports);
  return Reconcile();
}

NetworkSpec* HostNetworks::FindNetwork(const std::string& uid) {
  const auto found = std::ranges::find(networks_, uid, &NetworkSpec::uid);
  return found == networks_.end() ? nullptr : &*found;
}

PortSpec* HostNetworks::FindPort(const std::string& uid) {
  const auto found = std::ranges::find(ports_, uid, &PortSpec::uid);
  return found == ports_.end() ? nullptr : &*found;
}

// Whether nothing else uses these addresses: not another network, not the host.
Status HostNetworks::CheckFree(const NetworkSpec& network) {
  const ManagedBridge* bridge = network.managed();
  if (bridge == nullptr) return {};
  const std::string what = fmt::format("managed_bridge.subnet \"{}\"", ToText(bridge->subnet));
  for (const NetworkSpec& other : networks_)
    if (other.uid != network.uid && other.managed() != nullptr &&
        other.managed()->subnet.Overlaps(bridge->subnet))
      return FailedPrecondition("{}: overlaps {} of another network", what,
                                ToText(other.managed()->subnet));
  ASSIGN_OR_RETURN(const auto links, host_.links->List());
  ASSIGN_OR_RETURN(auto used, host_.links->Addresses());
  ASSIGN_OR_RETURN(const auto routes, host_.links->Routes());
  used.insert(used.end(), routes.begin(), routes.end());
  for (const Reach& reach : used) {
    const auto link = std::ranges::find(links, reach.index, &Link::index);
    if (link == links.end() || options_.names.IsBridge(link->name)) continue;
    if (reach.subnet.Overlaps(bridge->subnet))
      return FailedPrecondition("{}: the host has {} at {}", what, ToText(reach.subnet),
                                link->name);
  }
  return {};
}

Status HostNetworks::CheckFree(const PortSpec& port) const {
  for (const PortSpec& other : ports_) {
    if (other.uid == port.uid || other.network != port.network || other.vlan != port.vlan) continue;
    if (other.mac == port.mac)
      return MakeError(
          Code::kAlreadyExists,
          fmt::format("mac_address \"{:02x}\": another port has it", fmt::join(port.mac, ":")));
    if (port.address && other.address == port.address)
      return MakeError(Code::kAlreadyExists, fmt::format("ip_address \"{}\": another port has it",
                                                         ToText(*port.address)));
  }
  return {};
}

Status HostNetworks::ReconcileOr(const std::string& network_uid,
                                 const std::function<void()>& undo) {
  auto done = Reconcile();
  if (done) {
    const auto problem = problems_.find(network_uid);
    if (problem == problems_.end()) return done;
    done = Status(std::unexpected(problem->second));
  }
  undo();
  // What is wrong is being told already; what this leaves, the next one finds.
  static_cast<void>(Reconcile());
  return done;
}

Status HostNetworks::PutNetwork(const NetworkSpec& network) {
  RETURN_IF_ERROR(Validate(network));
  NetworkSpec* present = FindNetwork(network.uid);
  if (present == nullptr) {
    RETURN_IF_ERROR(CheckFree(network));
    networks_.push_back(network);
    return ReconcileOr(network.uid,
                       [&] { std::erase_if(networks_, [&](auto& n) { return n == network; }); });
  }
  const bool same_kind = present->kind.index() == network.kind.index();
  if (!same_kind || (network.host() != nullptr && *network.host() != *present->host()))
    return InvalidArgument("kind: cannot be changed");
  if (network.managed() != nullptr && network.managed()->subnet != present->managed()->subnet)
    return InvalidArgument("managed_bridge.subnet \"{}\": cannot be changed from {}",
                           ToText(network.managed()->subnet), ToText(present->managed()->subnet));
  for (const PortSpec& port : ports_)
    if (port.network == network.uid) RETURN_IF_ERROR(Validate(port, network));
  NetworkSpec before = std::exchange(*present, network);
  return ReconcileOr(network.uid, [&] { *FindNetwork(network.uid) = std::move(before); });
}

Status HostNetworks::RemoveNetwork(const std::string& uid) {
  const auto user = std::ranges::find(ports_, uid, &PortSpec::network);
  if (user != ports_.end()) return FailedPrecondition("port \"{}\" uses it", user->uid);
  std::erase_if(networks_, [&](const NetworkSpec& network) { return network.uid == uid; });
  return Reconcile();
}

Status HostNetworks::PutPort(const PortSpec& port) {
  const NetworkSpec* network = FindNetwork(port.network);
  if (network == nullptr)
    return MakeError(Code::kNotFound, fmt::format("network \"{}\": there is none", port.network));
  RETURN_IF_ERROR(Validate(port, *network));
  RETURN_IF_ERROR(CheckFree(port));
  PortSpec* present = FindPort(port.uid);
  if (present == nullptr) {
    ports_.push_back(port);
    return ReconcileOr(port.network,
                       [&] { std::erase_if(ports_, [&](auto& p) { return p.uid == port.uid; }); });
  }
  PortSpec before = std::exchange(*present, port);
  return ReconcileOr(port.network, [&] { *FindPort(port.uid) = std::move(before); });
}

Status HostNetworks::RemovePort(const std::string& uid) {
  std::erase_if(ports_, [&](const PortSpec& port) { return port.uid == uid; });
  return Reconcile();
}

Status HostNetworks::RemovePortsOf(const std::string& owner) {
  const std::string beginning = owner + "/";
  const auto removed =
      std::erase_if(ports_, [&](const PortSpec& port) { return port.uid.starts_with(beginning); });
  return removed > 0 ? Reconcile() : Status();
}

std::string HostNetworks::Problem(const std::string& network_uid) const {
  const auto problem = problems_.find(network_uid);
  if (problem != problems_.end()) return problem->second.message;
  return host_.name_servers->Problem(IdOf(options_.names.Bridge(network_uid)));
}

std::string HostNetworks::BridgeOf(const std::string& network_uid) const {
  const auto network = std::ranges::find(networks_, network_uid, &NetworkSpec::uid);
  if (network == networks_.end()) return {};
  return network->host() != nullptr ? network->host()->interface : options_.names.Bridge(network_uid);
}

Result<std::vector<Lease>> HostNetworks::Leases(const std::string& network_uid) {
  return host_.name_servers->Leases(IdOf(options_.names.Bridge(network_uid)));
}

// ---- what is there --------------------------------------------------------------------------------

// What goes, goes before its rules do; what comes, comes when its rules are there.
Status HostNetworks::Reconcile() {
  problems_.clear();
  ASSIGN_OR_RETURN(const auto links, host_.links->List());
  RETURN_IF_ERROR(RemoveUnwanted(links));
  RETURN_IF_ERROR(PutRules());
  RETURN_IF_ERROR(PutForwarding());
  return MakeNetworks();
}

// What is done while nothing else is wanted, was undone by somebody.
void HostNetworks::Note(const std::string& network_uid, std::string what) {
  if (checking_) repairs_.push_back({network_uid, std::move(what)});
}

Result<std::vector<Repair>> HostNetworks::Check() {
  repairs_.clear();
  const std::vector<std::string> ended = host_.name_servers->TakeEnded();
  checking_ = true;
  auto done = Reconcile();
  checking_ = false;
  for (const NetworkSpec& network : networks_) {
    if (std::ranges::find(ended, IdOf(options_.names.Bridge(network.uid))) != ended.end())
      repairs_.push_back({network.uid, "its DHCP and DNS server had ended"});
  }
  if (!done) return std::unexpected(done.error());
  return std::move(repairs_);
}

// Written whole where they differ; else not touched.
Status HostNetworks::PutRules() {
  std::string text = RulesText(options_.names, networks_, ports_);
  const std::string now = host_.firewall->Read(options_.names.Table());
  const bool same = text == rules_;
  if ((same && now == rules_read_) || (networks_.empty() && now.empty())) return {};
  if (same) Note("", fmt::format("nftables: the tables {} had changed", options_.names.Table()));
  rules_.clear();
  RETURN_IF_ERROR(host_.firewall->Apply(text));
  rules_read_ = host_.firewall->Read(options_.names.Table());
  rules_ = std::move(text);
  return {};
}

Status HostNetworks::PutForwarding() {
  const bool nat = std::ranges::any_of(networks_, [](const NetworkSpec& network) {
    return network.managed() != nullptr && network.managed()->nat;
  });
  if (!nat) return forwarding_.Restore();
  if (const auto now = host_.sysctls->Read("ipv4/ip_forward"); now && *now == "0")
    Note("", "net.ipv4.ip_forward had been turned off");
  return forwarding_.Need();
}

Status HostNetworks::RemoveUnwanted(const std::vector<Link>& links) {
  std::vector<std::string> bridges, served, taps;
  for (const NetworkSpec& network : networks_) {
    if (network.managed() == nullptr) continue;
    bridges.push_back(options_.names.Bridge(network.uid));
    if (network.managed()->dhcp || network.managed()->dns) served.push_back(IdOf(bridges.back()));
  }
  for (const PortSpec& port : ports_) taps.push_back(options_.names.Tap(port.uid));
  RETURN_IF_ERROR(host_.name_servers->KeepOnly(served));
  for (const Link& link : links) {
    const bool old_bridge = link.kind == "bridge" && options_.names.IsBridge(link.name) &&
                            std::ranges::find(bridges, link.name) == bridges.end();
    const bool old_tap = link.kind == "tun" && options_.names.IsTap(link.name) &&
                         std::ranges::find(taps, link.name) == taps.end();
    if (!old_bridge && !old_tap) continue;
    auto removed = host_.links->Remove(link);
    // Its machine may have ended meanwhile.
    if (!removed && removed.error().code != Code::kNotFound) return removed;
  }
  return {};
}

// One that cannot be made keeps no other from being made.
Status HostNetworks::MakeNetworks() {
  for (const NetworkSpec& network : networks_) {
    ASSIGN_OR_RETURN(const auto links, host_.links->List());
    auto made =
        network.managed() != nullptr ? MakeManaged(network, links) : FillPorts(network, links);
    if (!made) problems_[network.uid] = made.error();
  }
  return {};
}

Status HostNetworks::MakeManaged(const NetworkSpec& network, const std::vector<Link>& before) {
  const std::string name = options_.names.Bridge(network.uid);
  if (LinkNamed(before, name) == nullptr) {
    Note(network.uid, fmt::format("bridge {} was gone", name));
    RETURN_IF_ERROR(
        host_.links->MakeBridge({name, MacOf(0x02, network.uid), network.managed()->mtu}));
  }
  ASSIGN_OR_RETURN(const auto links, host_.links->List());
  ASSIGN_OR_RETURN(const Link bridge, FindBridge(network, links));
  RETURN_IF_ERROR(SetUpBridge(network, bridge));
  RETURN_IF_ERROR(FillPorts(network, links));
  return Serve(network, bridge);
}

Status HostNetworks::SetUpBridge(const NetworkSpec& network, const Link& bridge) {
  const ManagedBridge& wish = *network.managed();
  // Absent where the kernel, or this host, has no IPv6.
  const std::string ipv6 = fmt::format("ipv6/conf/{}/disable_ipv6", bridge.name);
  if (const auto now = host_.sysctls->Read(ipv6); now && *now != "1")
    RETURN_IF_ERROR(host_.sysctls->Write(ipv6, "1"));
  // Questions for other addresses of the host stay unanswered on a tenant's bridge.
  const std::string arp = fmt::format("ipv4/conf/{}/arp_ignore", bridge.name);
  ASSIGN_OR_RETURN(const std::string ignored, host_.sysctls->Read(arp));
  if (ignored != "1") RETURN_IF_ERROR(host_.sysctls->Write(arp, "1"));
  if (bridge.mtu != wish.mtu) RETURN_IF_ERROR(host_.links->SetMtu(bridge, wish.mtu));
  ASSIGN_OR_RETURN(const auto addresses, host_.links->Addresses());
  const bool there = std::ranges::any_of(addresses, [&](const Reach& reach) {
    return reach.index == bridge.index && reach.address == wish.subnet.gateway() &&
           reach.subnet == wish.subnet;
  });
  if (!there) {
    Note(network.uid, fmt::format("bridge {} had lost its address", bridge.name));
    RETURN_IF_ERROR(host_.links->AddAddress(bridge, wish.subnet.gateway(), wish.subnet));
  }
  if (bridge.up) return {};
  Note(network.uid, fmt::format("bridge {} was down", bridge.name));
  return host_.links->SetUp(bridge);
}

Result<Link> HostNetworks::FindBridge(const NetworkSpec& network,
                                      const std::vector<Link>& links) const {
  const bool managed = network.managed() != nullptr;
  const std::string name = managed ? options_.names.Bridge(network.uid) : network.host()->interface;
  const std::string what =
      managed ? fmt::format("bridge {}", name) : fmt::format("host_bridge.interface \"{}\"", name);
  const Link* link = LinkNamed(links, name);
  if (link == nullptr)
    return MakeError(Code::kNotFound, fmt::format("{}: the host has no such interface", what));
  if (link->kind != "bridge")
    return FailedPrecondition("{}: not a bridge but {}", what,
                              link->kind.empty() ? "hardware" : link->kind);
  if (!managed && options_.names.IsBridge(name))
    return InvalidArgument("{}: that is a managed network's", what);
  return *link;
}

// Those whose machines run; the others get theirs in OpenPort.
Status HostNetworks::FillPorts(const NetworkSpec& network, const std::vector<Link>& links) {
  ASSIGN_OR_RETURN(Link bridge, FindBridge(network, links));
  for (const PortSpec& port : ports_) {
    if (port.network != network.uid) continue;
    if (port.vlan != 0 && !bridge.vlan_filtering) {
      if (network.managed() == nullptr)
        return FailedPrecondition(
            "vlan {}: bridge {} does not filter VLANs: ip link set {} type bridge vlan_filtering 1",
            port.vlan, bridge.name, bridge.name);
      auto set = host_.links->SetVlanFiltering(bridge);
      if (!set) return WithContext(set.error(), fmt::format("vlan {}", port.vlan));
      bridge.vlan_filtering = true;
    }
    const Link* tap = LinkNamed(links, options_.names.Tap(port.uid));
    if (tap != nullptr) RETURN_IF_ERROR(MakePort(port, *tap, bridge));
  }
  return {};
}

Status HostNetworks::MakePort(const PortSpec& port, const Link& tap, const Link& bridge) {
  const std::string ipv6 = fmt::format("ipv6/conf/{}/disable_ipv6", tap.name);
  if (const auto now = host_.sysctls->Read(ipv6); now && *now != "1")
    RETURN_IF_ERROR(host_.sysctls->Write(ipv6, "1"));
  if (tap.mtu != bridge.mtu) RETURN_IF_ERROR(host_.links->SetMtu(tap, bridge.mtu));
  if (tap.bridge != bridge.index) {
    Note(port.network, fmt::format("port {} was not in its bridge", tap.name));
    // A bridge without an address of its own takes its ports' lowest: this one is never that.
    RETURN_IF_ERROR(host_.links->SetMac(tap, MacOf(0xfe, port.uid)));
    RETURN_IF_ERROR(host_.links->SetBridge(tap, bridge));
  }
  // A port is down until it is in its VLAN, and in no other.
  if (port.vlan != 0)
    RETURN_IF_ERROR(host_.links->SetPortVlan(tap, port.vlan, bridge.default_vlan));
  if (tap.up) return {};
  Note(port.network, fmt::format("port {} was down", tap.name));
  return host_.links->SetUp(tap);
}

Status HostNetworks::Serve(const NetworkSpec& network, const Link& bridge) {
  if (!network.managed()->dhcp && !network.managed()->dns) return {};
  const std::string id = IdOf(bridge.name);
  const DnsmasqFiles files = host_.name_servers->Files(id);
  ASSIGN_OR_RETURN(const std::vector<Lease> leases, host_.name_servers->Leases(id));
  return host_.name_servers->Serve(
      {id, DnsmasqConfigText(network, bridge.name, bridge.index, files),
       DhcpHostsText(network, ports_, leases), NamesText(network, ports_)});
}

Result<std::vector<UniqueFd>> HostNetworks::OpenPort(const std::string& uid) {
  const PortSpec* port = FindPort(uid);
  if (port == nullptr)
    return MakeError(Code::kNotFound, fmt::format("port \"{}\": there is none", uid));
  const NetworkSpec* network = FindNetwork(port->network);
  if (network == nullptr)
    return MakeError(Code::kNotFound, fmt::format("network \"{}\": there is none", port->network));
  const std::string name = options_.names.Tap(uid);
  ASSIGN_OR_RETURN(auto fds, host_.links->MakeTap(name, port->queues));
  ASSIGN_OR_RETURN(const auto links, host_.links->List());
  ASSIGN_OR_RETURN(const Link bridge, FindBridge(*network, links));
  const Link* tap = LinkNamed(links, name);
  if (tap == nullptr) return MakeError(Code::kUnavailable, fmt::format("tap {} is gone", name));
  RETURN_IF_ERROR(MakePort(*port, *tap, bridge));
  return fds;
}

}  // namespace gemel::hostnet
