// Networks and the cards on them: what is refused, what is durable when, what the host is asked for.
#include <gmock/gmock.h>

#include "tests/unit/grpc/manager_fixture.h"

namespace gemel::daemon {
namespace {

using ::testing::HasSubstr;

const std::string kLan = "projects/p/networks/lan";

class VmManagerNetworksTest : public VmManagerTest {
 protected:
  static v1::CreateNetworkRequest NetworkRequest(const std::string& id,
                                                 const std::string& project = "p") {
    v1::CreateNetworkRequest request;
    request.set_parent("projects/" + project);
    request.set_network_id(id);
    v1::ManagedBridge& bridge = *request.mutable_network()->mutable_managed_bridge();
    bridge.set_subnet("10.88.0.0/24");
    bridge.set_nat(true);
    bridge.set_dhcp(true);
    return request;
  }
  ApiResult<v1::Operation> Make(const v1::CreateNetworkRequest& request) {
    manager_->CreateNetwork(Call("Create"), request, Keep());
    return Outcome();
  }
  ApiResult<v1::Operation> Delete(const std::string& name = kLan) {
    v1::DeleteNetworkRequest request;
    request.set_name(name);
    manager_->DeleteNetwork(Call("Delete"), request, Keep());
    return Outcome();
  }
  v1::Network Network(const std::string& name = kLan) const {
    const auto found = published_->networks.Get(name);
    return found == nullptr ? v1::Network() : *found;
  }
  v1::CreateVirtualMachineRequest OnNetwork(const std::string& id, bool run,
                                            const std::string& address = "",
                                            const std::string& mac = "") const {
    v1::CreateVirtualMachineRequest request = CreateRequest(id, run);
    v1::NetworkInterface& nic = *request.mutable_virtual_machine()->mutable_spec()->add_nics();
    nic.set_network(kLan);
    nic.set_ip_address(address);
    nic.set_mac_address(mac);
    return request;
  }
  ApiResult<v1::Operation> MakeVm(const v1::CreateVirtualMachineRequest& request) {
    manager_->Create(Call("Create"), request, Keep());
    return Outcome();
  }
  static std::string FieldOf(const ApiError& error) {
    return error.message().substr(0, error.message().find(':'));
  }
};

TEST_F(VmManagerNetworksTest, Create_IsReadyOnceTheHostHasIt) {
  const auto made = Make(NetworkRequest("lan"));
  ASSERT_TRUE(made);
  EXPECT_TRUE(made->done() && made->has_response());
  EXPECT_EQ(Network().state(), v1::NETWORK_STATE_READY);
  EXPECT_EQ(Network().bridge(), "br-" + Network().uid());
  ASSERT_EQ(network_host_.networks.size(), 1U);
  EXPECT_EQ(store_.contents.networks.size(), 1U);
}

TEST_F(VmManagerNetworksTest, CreateThatTheHostRefuses_LeavesNothing) {
  network_host_.error = {Code::kFailedPrecondition, "the host has 10.88.0.0/16 at eth0"};
  const auto made = Make(NetworkRequest("lan"));
  ASSERT_TRUE(made);
  EXPECT_TRUE(made->done());
  EXPECT_EQ(made->error().code(), static_cast<int>(Code::kFailedPrecondition));
  EXPECT_THAT(made->error().message(), HasSubstr("eth0"));
  EXPECT_TRUE(store_.contents.networks.empty());
  EXPECT_EQ(published_->networks.size(), 0U);
}

TEST_F(VmManagerNetworksTest, QuotaOfNetworks_CountsThoseOfTheProject) {
  quotas_.policy.quotas["projects/p"].networks = 1;
  ASSERT_TRUE(Make(NetworkRequest("lan")));
  const auto refused = Make(NetworkRequest("dmz"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(ReasonOf(refused.error()), "QUOTA_EXCEEDED");
  EXPECT_THAT(refused.error().message(), HasSubstr("networks: projects/p"));
  v1::CreateNetworkRequest other = NetworkRequest("lan", "q");
  other.mutable_network()->mutable_managed_bridge()->set_subnet("10.89.0.0/24");
  EXPECT_TRUE(Make(other));
  Delete();
  EXPECT_TRUE(Make(NetworkRequest("dmz")));
}

TEST_F(VmManagerNetworksTest, Cable_IsPulledAtTheStartAndPluggedInWhileItRuns) {
  Make(NetworkRequest("lan"));
  auto request = OnNetwork("web", true);
  request.mutable_virtual_machine()->mutable_spec()->mutable_nics(0)->set_link_down(true);
  ASSERT_TRUE(MakeVm(request));
  const auto link = [this] { return supervisor_.vms().at(Vm().uid()).links.at("net0"); };
  EXPECT_FALSE(link());
  v1::UpdateVirtualMachineRequest update;
  *update.mutable_virtual_machine() = Vm();
  update.mutable_virtual_machine()->mutable_spec()->mutable_nics(0)->set_link_down(false);
  update.mutable_update_mask()->add_paths("spec.nics");
  manager_->Update(Call("Update"), update, Keep());
  ASSERT_TRUE(Outcome());
  EXPECT_TRUE(link());
  EXPECT_EQ(Vm().status().pending_changes_size(), 0);
}

TEST_F(VmManagerNetworksTest, BadRequests_NameTheirField) {
  v1::CreateNetworkRequest request = NetworkRequest("lan");
  request.mutable_network()->mutable_managed_bridge()->set_subnet("10.88.0.1/24");
  EXPECT_EQ(FieldOf(Make(request).error()), "network.managed_bridge.subnet");
  EXPECT_EQ(FieldOf(Make(NetworkRequest("Lan")).error()), "network_id");
  request = NetworkRequest("lan");
  request.mutable_network()->mutable_host_bridge()->set_interface("eth0");
  const auto refused = Make(request);
  EXPECT_EQ(FieldOf(refused.error()), "network.host_bridge.interface");
  EXPECT_THAT(refused.error().message(), HasSubstr("br0")) << "what may be named";
  EXPECT_TRUE(store_.contents.networks.empty());
}

TEST_F(VmManagerNetworksTest, WhatADaemonDidNotFinish_TheNextDoes) {
  store_.contents.networks.push_back(NetworkRequest("lan").network());
  v1::Network& network = store_.contents.networks.back();
  network.set_name(kLan);
  network.set_uid("u1");
  network.set_state(v1::NETWORK_STATE_CREATING);
  Restart();
  EXPECT_EQ(Network().state(), v1::NETWORK_STATE_READY);
  EXPECT_EQ(network_host_.networks.size(), 1U);
  store_.contents.networks.back().set_state(v1::NETWORK_STATE_DELETING);
  Restart();
  EXPECT_EQ(published_->networks.size(), 0U);
  EXPECT_TRUE(store_.contents.networks.empty());
  EXPECT_TRUE(network_host_.networks.empty());
}

TEST_F(VmManagerNetworksTest, UpdateThatTheHostRefuses_IsTakenBack) {
  ASSERT_TRUE(Make(NetworkRequest("lan")));
  v1::UpdateNetworkRequest request;
  request.mutable_network()->set_name(kLan);
  request.mutable_network()->mutable_managed_bridge()->set_mtu(1400);
  request.mutable_update_mask()->add_paths("managed_bridge.mtu");
  network_host_.error = {Code::kUnavailable, "no"};
  manager_->UpdateNetwork(Call("Update", "1"), request, Keep());
  EXPECT_TRUE(Outcome()->has_error());
  EXPECT_EQ(Network().managed_bridge().mtu(), 0U);
  manager_->UpdateNetwork(Call("Update", "2"), request, Keep());
  EXPECT_TRUE(Outcome()->has_response());
  EXPECT_EQ(Network().managed_bridge().mtu(), 1400U);
  EXPECT_EQ(network_host_.networks[0].managed()->mtu, 1400U);
  request.mutable_network()->mutable_managed_bridge()->set_subnet("10.9.0.0/24");
  request.mutable_update_mask()->add_paths("managed_bridge.subnet");
  manager_->UpdateNetwork(Call("Update", "3"), request, Keep());
  EXPECT_EQ(ReasonOf(Outcome().error()), reason::kImmutableField);
}

TEST_F(VmManagerNetworksTest, NetworkOfAMachine_IsNotDeleted) {
  ASSERT_TRUE(Make(NetworkRequest("lan")));
  ASSERT_TRUE(MakeVm(OnNetwork("web", false)));
  const auto refused = Delete();
  ASSERT_FALSE(refused);
  EXPECT_EQ(ReasonOf(refused.error()), reason::kInUse);
  EXPECT_THAT(refused.error().message(), HasSubstr(kWeb));
  ASSERT_TRUE(Do<v1::DeleteVirtualMachineRequest>("Delete", &VmManager::Delete));
  EXPECT_TRUE(Delete()->has_response());
  EXPECT_TRUE(network_host_.networks.empty());
}

TEST_F(VmManagerNetworksTest, DeleteThatTheHostCannotDo_IsTriedAgain) {
  ASSERT_TRUE(Make(NetworkRequest("lan")));
  network_host_.error = {Code::kUnavailable, "not now"};
  EXPECT_FALSE(Delete()->done());
  EXPECT_EQ(Network().state(), v1::NETWORK_STATE_DELETING);
  EXPECT_EQ(Network().message(), "not now");
  Pass(1100);
  EXPECT_EQ(published_->networks.size(), 0U);
  EXPECT_TRUE(Outcome()->has_response());
}

TEST_F(VmManagerNetworksTest, Card_GetsAddressesAndKeepsThem) {
  ASSERT_TRUE(Make(NetworkRequest("lan")));
  ASSERT_TRUE(MakeVm(OnNetwork("web", false)));
  ASSERT_TRUE(MakeVm(OnNetwork("db", false)));
  const v1::NetworkInterface nic = Vm().spec().nics(0);
  EXPECT_EQ(nic.ip_address(), "10.88.0.2");
  EXPECT_EQ(nic.mac_address().size(), 17U);
  EXPECT_EQ(Vm("projects/p/vms/db").spec().nics(0).ip_address(), "10.88.0.3");
  v1::UpdateVirtualMachineRequest request;
  request.mutable_virtual_machine()->set_name(kWeb);
  *request.mutable_virtual_machine()->mutable_spec() =
      OnNetwork("web", false).virtual_machine().spec();
  request.mutable_update_mask()->add_paths("spec");
  manager_->Update(Call("Update"), request, Keep());
  ASSERT_TRUE(Outcome());
  EXPECT_EQ(Vm().spec().nics(0).ip_address(), nic.ip_address());
  EXPECT_EQ(Vm().spec().nics(0).mac_address(), nic.mac_address());
}

TEST_F(VmManagerNetworksTest, WrongCards_NameTheirField) {
  const std::string nic = "virtual_machine.spec.nics[0]";
  EXPECT_EQ(FieldOf(MakeVm(OnNetwork("web", false)).error()), nic + ".network");
  ASSERT_TRUE(Make(NetworkRequest("lan")));
  ASSERT_TRUE(MakeVm(OnNetwork("web", false, "10.88.0.9", "02:00:00:00:00:01")));
  EXPECT_EQ(FieldOf(MakeVm(OnNetwork("b", false, "10.88.0.9")).error()), nic + ".ip_address");
  EXPECT_EQ(FieldOf(MakeVm(OnNetwork("b", false, "10.88.0.1")).error()), nic + ".ip_address");
  EXPECT_EQ(FieldOf(MakeVm(OnNetwork("b", false, "10.89.0.2")).error()), nic + ".ip_address");
  EXPECT_EQ(FieldOf(MakeVm(OnNetwork("b", false, "", "02:00:00:00:00:01")).error()),
            nic + ".mac_address");
  v1::CreateVirtualMachineRequest request = OnNetwork("b", false);
  request.set_parent("projects/q");
  EXPECT_EQ(FieldOf(MakeVm(request).error()), nic + ".network") << "another project's";
  request = OnNetwork("b", false);
  request.mutable_virtual_machine()->mutable_spec()->mutable_nics(0)->set_vlan(4095);
  EXPECT_EQ(FieldOf(MakeVm(request).error()), nic + ".vlan");
}

TEST_F(VmManagerNetworksTest, FullNetwork_IsNamed) {
  v1::CreateNetworkRequest request = NetworkRequest("lan");
  request.mutable_network()->mutable_managed_bridge()->set_dhcp_last("10.88.0.2");
  ASSERT_TRUE(Make(request));
  ASSERT_TRUE(MakeVm(OnNetwork("web", false)));
  const auto refused = MakeVm(OnNetwork("db", false));
  EXPECT_EQ(ReasonOf(refused.error()), "NETWORK_FULL");
}

TEST_F(VmManagerNetworksTest, Ports_AreThoseOfMachinesThatRun) {
  ASSERT_TRUE(Make(NetworkRequest("lan")));
  ASSERT_TRUE(MakeVm(OnNetwork("web", true))->done());
  ASSERT_EQ(network_host_.ports.size(), 1U);
  const hostnet::PortSpec port = network_host_.ports[0];
  EXPECT_EQ(port.uid, Vm().uid() + "/0");
  EXPECT_EQ(port.network, Network().uid());
  EXPECT_EQ(port.hostname, "web");
  EXPECT_EQ(hostnet::ToText(*port.address), "10.88.0.2");
  Restart();
  EXPECT_EQ(State(), "RUNNING");
  EXPECT_EQ(network_host_.ports.size(), 1U) << "adopted";
  ASSERT_TRUE(Do<v1::StopVirtualMachineRequest>("Stop", &VmManager::Stop));
  EXPECT_TRUE(network_host_.ports.empty());
  Restart();
  EXPECT_TRUE(network_host_.ports.empty());
}

TEST_F(VmManagerNetworksTest, PortThatCannotBeMade_FailsTheStart) {
  ASSERT_TRUE(Make(NetworkRequest("lan")));
  network_host_.error = {Code::kUnavailable, "/dev/net/tun: No such device"};
  const auto made = MakeVm(OnNetwork("web", true));
  ASSERT_TRUE(made);
  EXPECT_THAT(made->error().message(), HasSubstr("/dev/net/tun"));
  EXPECT_EQ(published_->vms.size(), 0U);
  EXPECT_EQ(CountCalls("Start"), 0);
}

TEST_F(VmManagerNetworksTest, StartThatFails_TakesThePortsBack) {
  ASSERT_TRUE(Make(NetworkRequest("lan")));
  supervisor_.FailNext({Code::kUnavailable, "no"});
  EXPECT_TRUE(MakeVm(OnNetwork("web", true))->has_error());
  EXPECT_TRUE(network_host_.ports.empty());
}

TEST_F(VmManagerNetworksTest, WhatALookFinds_IsPublishedOnceAndTold) {
  ASSERT_TRUE(Make(NetworkRequest("lan")));
  const auto count = [&] { return published_->events->Kept(0).size(); };
  network_host_.report.problems[Network().uid()] = "dnsmasq has ended";
  Pass(5100);
  EXPECT_EQ(Network().state(), v1::NETWORK_STATE_FAILED);
  EXPECT_EQ(Network().message(), "dnsmasq has ended");
  const auto before = count();
  Pass(5100);
  EXPECT_EQ(count(), before);
  network_host_.report = {};
  network_host_.report.repairs = {{Network().uid(), "bridge was down"}, {"", "tables had changed"}};
  Pass(5100);
  EXPECT_EQ(Network().state(), v1::NETWORK_STATE_READY);
  EXPECT_EQ(count(), before + 3) << "it is well again, and two repairs";
  Pass(5100);
  EXPECT_EQ(count(), before + 3) << "a repair is not told each time";
  EXPECT_TRUE(HasEvent(v1::EVENT_TYPE_NETWORK_CHANGED));
}

TEST_F(VmManagerNetworksTest, Leases_NameTheirMachine) {
  ASSERT_TRUE(Make(NetworkRequest("lan")));
  ASSERT_TRUE(MakeVm(OnNetwork("web", false, "", "02:00:00:00:00:01")));
  network_host_.leases = {{0, {2, 0, 0, 0, 0, 1}, {0x0a580002}, "web"},
                          {0, {2, 0, 0, 0, 0, 2}, {0x0a580003}, "x"}};
  std::vector<v1::Lease> leases;
  manager_->Leases(kLan, [&](auto found) { leases = *found; });
  Drain();
  ASSERT_EQ(leases.size(), 2U);
  EXPECT_EQ(leases[0].virtual_machine(), kWeb);
  EXPECT_EQ(leases[1].virtual_machine(), "");
}

}  // namespace
}  // namespace gemel::daemon
