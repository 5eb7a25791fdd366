// Cards of machines on networks: the addresses that they get and keep, and the ports that the host has
// for those whose machines run.
#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "grpc/cluster_networks.h"
#include "grpc/convert_network.h"
#include "grpc/network_host.h"
#include "grpc/resource_name.h"
#include "grpc/vm_manager.h"
#include "vmm/config/net_config.h"

namespace gemel::daemon {
namespace {

constexpr int kMostCards = 64;  // more than any machine has room for

// The card of `old` that this one was, as far as one can tell.
const v1::NetworkInterface* Earlier(const v1::NetworkInterface& nic, int index,
                                    const v1::VirtualMachineSpec* old) {
  if (old == nullptr || index >= old->nics_size()) return nullptr;
  const v1::NetworkInterface& was = old->nics(index);
  return was.network() == nic.network() && was.vlan() == nic.vlan() ? &was : nullptr;
}

// Cards in one network and VLAN reach one another, and must differ.
bool Together(const v1::NetworkInterface& a, const v1::NetworkInterface& b) {
  return a.network() == b.network() && a.vlan() == b.vlan();
}

std::string PortUid(const v1::VirtualMachine& vm, int index) {
  return fmt::format("{}/{}", vm.uid(), index);
}

std::string_view FirstWord(std::string_view text) { return text.substr(0, text.find(' ')); }

// `taken`: what others have. Fills in the address that a guarded port needs.
ApiResult<void> SettleAddress(const std::set<std::string>& taken,
                              const hostnet::NetworkSpec& network,
                              const v1::NetworkInterface* earlier, v1::NetworkInterface& nic,
                              const std::string& field) {
  const hostnet::ManagedBridge* bridge = network.managed();
  const bool needed = bridge != nullptr && !network.allow_spoofing && nic.vlan() == 0;
  if (nic.ip_address().empty() && needed && earlier != nullptr)
    nic.set_ip_address(earlier->ip_address());
  std::optional<hostnet::Ipv4> wanted;
  if (!nic.ip_address().empty()) {
    const auto parsed = hostnet::ParseIpv4("ip_address", nic.ip_address());
    if (!parsed) return std::unexpected(InvalidField(field, parsed.error().message));
    wanted = *parsed;
    if (taken.contains(nic.ip_address()))
      return std::unexpected(
          InvalidField(field, fmt::format("\"{}\": another machine has it", nic.ip_address())));
  }
  if (bridge == nullptr || (!needed && !wanted)) return {};
  std::set<hostnet::Ipv4> addresses;
  for (const std::string& text : taken)
    if (const auto address = hostnet::ParseIpv4("", text)) addresses.insert(*address);
  const auto planned = hostnet::PlanAddress(*bridge, addresses, wanted);
  if (!planned && planned.error().code == Code::kResourceExhausted)
    return std::unexpected(
        MakeApiError(Code::kResourceExhausted, "NETWORK_FULL",
                     fmt::format("{}: {}: {}", field, nic.network(), planned.error().message)));
  if (!planned) return std::unexpected(InvalidField(field, planned.error().message));
  nic.set_ip_address(hostnet::ToText(*planned));
  return {};
}

}  // namespace

// What others have in the card's network: MAC and IP addresses, as text.
std::set<std::string> VmManager::TakenBeside(const v1::VirtualMachine& vm, int index) const {
  std::set<std::string> taken;
  const v1::NetworkInterface& nic = vm.spec().nics(index);
  const auto take = [&](const v1::NetworkInterface& other) {
    if (!Together(nic, other)) return;
    taken.insert(other.mac_address());
    taken.insert(other.ip_address());
  };
  for (const auto& [name, other] : vms_) {
    if (name == vm.name()) continue;
    for (const auto& card : other.stored.vm.spec().nics()) take(card);
    for (const auto& card : other.stored.running_spec.nics()) take(card);
  }
  for (int i = 0; i < vm.spec().nics_size(); ++i)
    if (i != index) take(vm.spec().nics(i));
  // What machines have that are other nodes' own.
  if (vm.spec().has_failover() && cluster_ != nullptr && nic.vlan() == 0)
    for (const auto& [node, network] : cluster_->NetworksOf(nic.network()))
      for (const std::uint32_t address : network.taken)
        taken.insert(hostnet::ToText(hostnet::Ipv4{address}));
  taken.erase("");
  return taken;
}

// What other nodes must know of those of this one.
std::vector<etcd::NodeNetwork> VmManager::Networks() const {
  std::map<std::string, std::set<std::uint32_t>> taken;
  const auto take = [&](const v1::VirtualMachineSpec& spec) {
    for (const v1::NetworkInterface& nic : spec.nics()) {
      if (nic.network().empty() || nic.vlan() != 0) continue;
      if (const auto address = hostnet::ParseIpv4("", nic.ip_address()))
        taken[nic.network()].insert(address->value);
    }
  };
  for (const auto& [name, vm] : vms_) {
    if (IsClusters(vm)) continue;
    take(vm.stored.vm.spec());
    take(vm.stored.running_spec);
  }
  std::vector<etcd::NodeNetwork> networks;
  networks.reserve(networks_.size());
  for (const auto& [name, network] : networks_)
    networks.push_back(DescribeNetwork(network, taken[name]));
  return networks;
}

// A network of this node's, that the card may have as far as it goes.
ApiResult<hostnet::NetworkSpec> VmManager::OwnNetworkFor(const v1::VirtualMachine& vm,
                                                         const v1::NetworkInterface& nic,
                                                         const std::string& field) const {
  const auto found = networks_.find(nic.network());
  // Another project's is none, so that nobody learns its name.
  if (found == networks_.end() || ProjectOf(nic.network()) != ProjectOf(vm.name()))
    return std::unexpected(InvalidField(
        field + ".network",
        fmt::format("\"{}\" is not a network of {}", nic.network(), ProjectOf(vm.name()))));
  if (!IsThere(found->second))
    return std::unexpected(InvalidField(
        field + ".network",
        fmt::format("\"{}\" is {}", nic.network(), v1::NetworkState_Name(found->second.state()))));
  return ToNetworkSpec(found->second, "network");
}

// The network as the nodes of the cluster have it. `anew`: the card was not in it yet.
ApiResult<hostnet::NetworkSpec> VmManager::ClusterNetworkFor(const v1::VirtualMachine& vm,
                                                             const v1::NetworkInterface& nic,
                                                             bool anew,
                                                             const std::string& field) const {
  const auto wrong = [&](const std::string& what) {
    return std::unexpected(
        InvalidField(field + ".network", fmt::format("\"{}\": {}", nic.network(), what)));
  };
  std::map<std::string, etcd::NodeNetwork> of;
  if (ProjectOf(nic.network()) == ProjectOf(vm.name()) && cluster_ != nullptr)
    of = cluster_->NetworksOf(nic.network());
  const auto own = networks_.find(nic.network());
  const bool here = own != networks_.end() && ProjectOf(nic.network()) == ProjectOf(vm.name()) &&
                    IsThere(own->second);
  if (!here && of.empty())
    return wrong(
        fmt::format("no node of the cluster has such a network of {}: make it, by the same "
                    "name, on each node that may run the machine",
                    ProjectOf(vm.name())));
  if (here) of[options_.node] = DescribeNetwork(own->second, {});
  const auto& [first, model] = *of.begin();
  for (const auto& [node, network] : of) {
    const std::string differs = NetworkDifference(model, network);
    if (differs.empty() || !anew) continue;
    return wrong(
        fmt::format("node {} has {}, which node {} has: make them alike", node, differs, first));
  }
  if (here) return ToNetworkSpec(own->second, "network");
  auto spec = ToNetworkSpec(model);
  if (!spec) return wrong(spec.error().message);
  return std::move(*spec);
}

ApiResult<void> VmManager::CheckPort(const v1::VirtualMachine& vm, int index,
                                     const hostnet::NetworkSpec& network,
                                     const std::string& field) const {
  for (const hostnet::PortSpec& port : PortsOf(vm, vm.spec())) {
    if (port.uid != PortUid(vm, index)) continue;
    const Status valid = hostnet::Validate(port, network);
    if (!valid)
      return std::unexpected(InvalidField(
          fmt::format("{}.{}", field, FirstWord(valid.error().message)), valid.error().message));
  }
  return {};
}

ApiResult<void> VmManager::SettleNic(v1::VirtualMachine& vm, int index,
                                     const v1::VirtualMachineSpec* old,
                                     std::string_view prefix) const {
  v1::NetworkInterface& nic = *vm.mutable_spec()->mutable_nics(index);
  const std::string field = fmt::format("{}.nics[{}]", prefix, index);
  if (nic.network().empty()) return {};
  const auto wrong = [&](std::string_view name, std::string_view what) {
    return std::unexpected(InvalidField(fmt::format("{}.{}", field, name), what));
  };
  const v1::NetworkInterface* earlier = Earlier(nic, index, old);
  auto network = vm.spec().has_failover() ? ClusterNetworkFor(vm, nic, earlier == nullptr, field)
                                          : OwnNetworkFor(vm, nic, field);
  if (!network) return std::unexpected(std::move(network).error());
  if (nic.port_forwards_size() > 0)
    return wrong("port_forwards", "they belong to user networking alone");
  if (nic.mac_address().empty() && earlier != nullptr) nic.set_mac_address(earlier->mac_address());
  if (nic.mac_address().empty())
    nic.set_mac_address(FormatMac(DeriveMac(vm.uid(), static_cast<std::uint32_t>(index))));
  const auto mac = ParseMac("mac_address", nic.mac_address());
  if (!mac) return wrong("mac_address", mac.error().message);
  nic.set_mac_address(FormatMac(*mac));
  const std::set<std::string> taken = TakenBeside(vm, index);
  if (taken.contains(nic.mac_address()))
    return wrong("mac_address", fmt::format("\"{}\": another card of {} has it", nic.mac_address(),
                                            nic.network()));
  if (auto settled = SettleAddress(taken, *network, earlier, nic, field + ".ip_address"); !settled)
    return settled;
  return CheckPort(vm, index, *network, field);
}

ApiResult<void> VmManager::SettleNics(v1::VirtualMachine& vm, const v1::VirtualMachineSpec* old,
                                      std::string_view prefix) const {
  if (vm.spec().nics_size() > kMostCards)
    return std::unexpected(
        InvalidField(fmt::format("{}.nics", prefix),
                     fmt::format("{} cards are more than {}", vm.spec().nics_size(), kMostCards)));
  for (int i = 0; i < vm.spec().nics_size(); ++i) {
    if (auto settled = SettleNic(vm, i, old, prefix); !settled) return settled;
  }
  return {};
}

// What the host is to have for `spec` of the machine, whose addresses are settled.
std::vector<hostnet::PortSpec> VmManager::PortsOf(const v1::VirtualMachine& vm,
                                                  const v1::VirtualMachineSpec& spec) const {
  std::vector<hostnet::PortSpec> ports;
  std::set<std::string> named;  // a network knows a machine's name once
  for (int i = 0; i < spec.nics_size(); ++i) {
    const v1::NetworkInterface& nic = spec.nics(i);
    if (nic.network().empty()) continue;
    hostnet::PortSpec port;
    port.uid = PortUid(vm, i);
    if (const auto found = networks_.find(nic.network()); found != networks_.end())
      port.network = found->second.uid();
    if (const auto mac = ParseMac("mac_address", nic.mac_address())) port.mac = *mac;
    if (!nic.ip_address().empty())
      if (const auto address = hostnet::ParseIpv4("", nic.ip_address())) port.address = *address;
    port.vlan = nic.vlan();
    port.queues = nic.queues() == 0 ? 1 : nic.queues();
    if (named.insert(nic.network()).second) port.hostname = std::string(LastPart(vm.name()));
    ports.push_back(std::move(port));
  }
  return ports;
}

// The machine's ports, which what it is started with has from then on.
void VmManager::OpenPorts(VmStart start, std::vector<hostnet::PortSpec> ports, Prepared done) {
  auto box = std::make_shared<VmStart>(std::move(start));
  std::vector<std::size_t> cards;
  for (const hostnet::PortSpec& port : ports)
    cards.push_back(std::stoul(port.uid.substr(port.uid.find('/') + 1)));
  options_.networks->OpenPorts(
      std::move(ports), [box, cards, done = std::move(done),
                         alive = std::weak_ptr(alive_)](Result<std::vector<NetFds>>& opened) {
        if (alive.expired()) return;
        if (!opened) return done(std::unexpected(FromError(opened.error(), "NETWORK_FAILED")));
        box->files.nets.resize(box->config.nets.size());
        for (std::size_t i = 0; i < cards.size(); ++i)
          box->files.nets[cards[i]] = std::move((*opened)[i]);
        done(std::move(*box));
      });
}

// After its end, or a start that came to nothing.
void VmManager::ClosePorts(const VmUid& uid, const v1::VirtualMachineSpec& spec) {
  const bool any = std::any_of(spec.nics().begin(), spec.nics().end(),
                               [](const auto& nic) { return !nic.network().empty(); });
  if (any && options_.networks != nullptr) options_.networks->ClosePorts(uid);
}

}  // namespace gemel::daemon
