// A host for hostnet::HostNetworks without a kernel: interfaces, rules, settings and servers as data.
// Any change can be made to fail, to see what is left.
#pragma once
#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "hostnet/host_networks.h"

namespace gemel::hostnet {

// What outlives a HostNetworks, as a kernel does.
struct FakeKernel {
  std::vector<Link> links;
  std::vector<Reach> addresses;
  std::vector<Reach> routes;
  std::map<int, std::uint32_t> port_vlans;  // by index
  std::map<std::string, std::string> sysctls = {{"ipv4/ip_forward", "0"},
                                                {"ipv4/conf/all/accept_redirects", "1"},
                                                {"ipv4/conf/all/forwarding", "0"}};
  std::string rules;
  std::map<std::string, NameServerWish> servers;
  std::vector<std::string> ended;  // servers
  bool filters_vlans = true;
  int changes = 0;
  int fail_at = -1;  // the number of the change that fails; -1: none
  int next_index = 1;

  Status Change() {
    if (changes++ == fail_at) return MakeError(Code::kUnavailable, "made to fail");
    return {};
  }
  Link* At(int index) {
    const auto found = std::ranges::find(links, index, &Link::index);
    return found == links.end() ? nullptr : &*found;
  }
  Link* Named(const std::string& name) {
    const auto found = std::ranges::find(links, name, &Link::name);
    return found == links.end() ? nullptr : &*found;
  }
  Link& Add(const std::string& name, const std::string& kind) {
    Link link;
    link.index = next_index++;
    link.name = name;
    link.kind = kind;
    link.mtu = 1500;
    sysctls[fmt::format("ipv4/conf/{}/arp_ignore", name)] = "0";
    sysctls[fmt::format("ipv6/conf/{}/disable_ipv6", name)] = "0";
    return links.emplace_back(link);
  }
};

class FakeLinks : public Links {
 public:
  explicit FakeLinks(FakeKernel* kernel) : kernel_(kernel) {}

  Result<std::vector<Link>> List() override { return kernel_->links; }
  Result<std::vector<Reach>> Addresses() override { return kernel_->addresses; }
  Result<std::vector<Reach>> Routes() override { return kernel_->routes; }
  Status MakeBridge(const BridgeWish& wish) override {
    RETURN_IF_ERROR(kernel_->Change());
    Link& link = kernel_->Add(wish.name, "bridge");
    link.mac = wish.mac;
    link.mtu = wish.mtu;
    return {};
  }
  Status SetVlanFiltering(const Link& bridge) override {
    if (!kernel_->filters_vlans) return MakeError(Code::kUnimplemented, "no VLAN filtering");
    RETURN_IF_ERROR(kernel_->Change());
    kernel_->At(bridge.index)->vlan_filtering = true;
    return {};
  }
  Status Remove(const Link& link) override {
    RETURN_IF_ERROR(kernel_->Change());
    std::erase_if(kernel_->links, [&](const Link& one) { return one.index == link.index; });
    std::erase_if(kernel_->addresses, [&](const Reach& one) { return one.index == link.index; });
    std::erase_if(kernel_->sysctls, [&](const auto& one) {
      return one.first.find("/" + link.name + "/") != std::string::npos;
    });
    return {};
  }
  Status AddAddress(const Link& link, Ipv4 address, const Subnet& subnet) override {
    RETURN_IF_ERROR(kernel_->Change());
    kernel_->addresses.push_back({link.index, subnet, address});
    return {};
  }
  Status SetUp(const Link& link) override {
    RETURN_IF_ERROR(kernel_->Change());
    kernel_->At(link.index)->up = true;
    return {};
  }
  Status SetMtu(const Link& link, std::uint32_t mtu) override {
    RETURN_IF_ERROR(kernel_->Change());
    kernel_->At(link.index)->mtu = mtu;
    return {};
  }
  Status SetMac(const Link& link, const MacAddress& mac) override {
    RETURN_IF_ERROR(kernel_->Change());
    kernel_->At(link.index)->mac = mac;
    return {};
  }
  Status SetBridge(const Link& port, const Link& bridge) override {
    RETURN_IF_ERROR(kernel_->Change());
    kernel_->At(port.index)->bridge = bridge.index;
    return {};
  }
  Status SetPortVlan(const Link& port, std::uint32_t vlan, std::uint32_t) override {
    RETURN_IF_ERROR(kernel_->Change());
    kernel_->port_vlans[port.index] = vlan;
    return {};
  }
  // Without descriptors: the tap stays until it is removed.
  Result<std::vector<UniqueFd>> MakeTap(const std::string& name, std::uint32_t queues) override {
    if (kernel_->Named(name) != nullptr) return MakeError(Code::kAlreadyExists, name);
    RETURN_IF_ERROR(kernel_->Change());
    kernel_->Add(name, "tun");
    return std::vector<UniqueFd>(queues);
  }

 private:
  FakeKernel* kernel_;
};

class FakeFirewall : public Firewall {
 public:
  explicit FakeFirewall(FakeKernel* kernel) : kernel_(kernel) {}
  Status Apply(const std::string& rules) override {
    RETURN_IF_ERROR(kernel_->Change());
    kernel_->rules = rules;
    return {};
  }
  std::string Read(const std::string&) override { return kernel_->rules; }

 private:
  FakeKernel* kernel_;
};

class FakeSysctls : public Sysctls {
 public:
  explicit FakeSysctls(FakeKernel* kernel) : kernel_(kernel) {}
  Result<std::string> Read(const std::string& name) override {
    const auto found = kernel_->sysctls.find(name);
    if (found == kernel_->sysctls.end()) return MakeError(Code::kNotFound, name);
    return found->second;
  }
  Status Write(const std::string& name, const std::string& value) override {
    RETURN_IF_ERROR(kernel_->Change());
    kernel_->sysctls[name] = value;
    if (name != "ipv4/ip_forward") return {};
    // As the kernel does it.
    for (auto& [other, now] : kernel_->sysctls)
      if (other.ends_with("/forwarding")) now = value;
    kernel_->sysctls["ipv4/conf/all/accept_redirects"] = value == "1" ? "0" : "1";
    return {};
  }
  Result<std::vector<std::string>> List(const std::string& folder) override {
    std::set<std::string> names;
    for (const auto& [name, value] : kernel_->sysctls)
      if (name.starts_with(folder + "/"))
        names.insert(
            name.substr(folder.size() + 1, name.find('/', folder.size() + 1) - folder.size() - 1));
    return std::vector<std::string>(names.begin(), names.end());
  }

 private:
  FakeKernel* kernel_;
};

class FakeNameServers : public NameServers {
 public:
  explicit FakeNameServers(FakeKernel* kernel) : kernel_(kernel) {}
  DnsmasqFiles Files(const std::string& id) const override { return {"/run/networks/" + id}; }
  Status KeepOnly(const std::vector<std::string>& ids) override {
    std::erase_if(kernel_->servers, [&](const auto& server) {
      return std::ranges::find(ids, server.first) == ids.end();
    });
    return {};
  }
  Status Serve(const NameServerWish& wish) override {
    if (kernel_->servers.contains(wish.id) && kernel_->servers[wish.id] == wish) return {};
    RETURN_IF_ERROR(kernel_->Change());
    kernel_->servers[wish.id] = wish;
    return {};
  }
  Result<std::vector<Lease>> Leases(const std::string&) override { return std::vector<Lease>{}; }
  std::string Problem(const std::string&) const override { return {}; }
  std::vector<std::string> TakeEnded() override { return std::exchange(kernel_->ended, {}); }

 private:
  FakeKernel* kernel_;
};

inline Host FakeHost(FakeKernel* kernel) {
  return {std::make_unique<FakeLinks>(kernel), std::make_unique<FakeFirewall>(kernel),
          std::make_unique<FakeSysctls>(kernel), std::make_unique<FakeNameServers>(kernel)};
}

}  // namespace gemel::hostnet
