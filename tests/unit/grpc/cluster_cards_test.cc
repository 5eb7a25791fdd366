// Machines with failover whose cards are on networks: which node may have them, what they get, and what
// each node's host has for them.
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "grpc/convert_network.h"
#include "tests/unit/grpc/member_pair.h"

namespace gemel::daemon {
namespace {

constexpr char kLan[] = "projects/p/networks/lan";
constexpr char kSubnet[] = "10.88.0.0/24";

struct ClusterCardsTest : MemberPair {
  static v1::VirtualMachine WithCard(const MemberNode& node, const std::string& address = "",
                                     const std::string& mac = "") {
    v1::FailoverSpec failover;
    failover.set_preferred_node("nodes/a");
    v1::VirtualMachine machine = node.Machine(failover);
    v1::NetworkInterface& nic = *machine.mutable_spec()->add_nics();
    nic.set_network(kLan);
    nic.set_ip_address(address);
    nic.set_mac_address(mac);
    return machine;
  }
  static v1::VirtualMachine Ordinary(const MemberNode& node, const std::string& address = "") {
    v1::VirtualMachine machine = WithCard(node, address);
    machine.mutable_spec()->clear_failover();
    return machine;
  }
  static std::size_t NetworksKnownTo(MemberNode& node) {
    const v1::ClusterStatus status = node.Show();
    return static_cast<std::size_t>(status.nodes(0).networks_size() +
                                    status.nodes(1).networks_size());
  }
  void NetworksOnBoth() {
    ASSERT_TRUE(a->MakeNetwork(kSubnet).has_value());
    ASSERT_TRUE(b->MakeNetwork(kSubnet).has_value());
    ASSERT_TRUE(Until([&] { return NetworksKnownTo(*a) == 2 && NetworksKnownTo(*b) == 2; }));
  }
  // Only one node has the network, and both know.
  void NetworkOn(MemberNode& node, const std::string& subnet = kSubnet) {
    ASSERT_TRUE(node.MakeNetwork(subnet).has_value());
    ASSERT_TRUE(Until([&] { return NetworksKnownTo(*a) == 1 && NetworksKnownTo(*b) == 1; }));
  }
  VmUid RunOnNetwork() {
    const auto made = a->Make("web", WithCard(*a));
    EXPECT_TRUE(made.has_value()) << made.error().message();
    EXPECT_TRUE(Until([&] { return a->Stands() == "RUNNING a" && b->Stands() == "RUNNING a"; }))
        << a->Stands();
    return a->Vm().uid();
  }
  static std::string Obstacles(MemberNode& node) {
    v1::Explanation why;
    EXPECT_TRUE(node.member().Explain(kWeb, why));
    std::string text;
    for (const v1::NodeObstacle& obstacle : why.obstacles())
      text += obstacle.node() + ": " + obstacle.text() + "\n";
    return text;
  }
};

TEST_F(ClusterCardsTest, RunsOnANodeThatHasItsNetwork_WithAPortThere) {
  NetworksOnBoth();
  const VmUid uid = RunOnNetwork();
  const v1::NetworkInterface nic = a->Vm().spec().nics(0);
  EXPECT_EQ(nic.ip_address(), "10.88.0.2");
  EXPECT_EQ(b->Vm().spec().nics(0).mac_address(), nic.mac_address());
  ASSERT_EQ(a->network_host().ports.size(), 1U);
  EXPECT_EQ(a->network_host().ports[0].uid, uid + "/0");
  EXPECT_TRUE(b->network_host().ports.empty());
  EXPECT_EQ(a->supervisor().vms().at(uid).config.nets[0].vhost, VhostMode::kOff);
}

TEST_F(ClusterCardsTest, NodeLost_TheOtherHasItsPortAndTheSameAddresses) {
  NetworksOnBoth();
  const VmUid uid = RunOnNetwork();
  const hostnet::PortSpec before = a->network_host().ports.at(0);
  a->lost = true;
  ASSERT_TRUE(Until([&] { return b->Stands() == "RUNNING b"; })) << b->Stands();
  ASSERT_EQ(b->network_host().ports.size(), 1U);
  EXPECT_EQ(b->network_host().ports[0].mac, before.mac);
  EXPECT_EQ(b->network_host().ports[0].address, before.address);
  a->lost = false;
  EXPECT_TRUE(Until([&] { return a->network_host().ports.empty(); }));
  EXPECT_FALSE(a->Runs(uid));
}

TEST_F(ClusterCardsTest, Stopped_ItsPortGoes) {
  NetworksOnBoth();
  RunOnNetwork();
  ASSERT_TRUE(b->Do(&VmManager::Stop).has_value());
  EXPECT_TRUE(Until([&] { return a->Stands() == "STOPPED"; }));
  EXPECT_TRUE(a->network_host().ports.empty());
}

TEST_F(ClusterCardsTest, GuestEndsAndIsStartedAgain_HasItsPort) {
  NetworksOnBoth();
  const VmUid uid = RunOnNetwork();
  a->supervisor().End(uid, {VmExitCause::kKilled, 0, 9, "killed by signal 9 (Killed)", 1});
  EXPECT_TRUE(Until([&] { return a->Calls("Start " + uid) == 2 && a->Runs(uid); }));
  EXPECT_EQ(a->network_host().ports.size(), 1U);
}

TEST_F(ClusterCardsTest, DaemonBeginsAnew_PortOfTheRunningMachineStays) {
  NetworksOnBoth();
  const VmUid uid = RunOnNetwork();
  a->StartDaemon();
  b->StartDaemon();
  EXPECT_TRUE(Until([&] { return a->Stands() == "RUNNING a"; })) << a->Stands();
  ASSERT_EQ(a->network_host().ports.size(), 1U);
  EXPECT_EQ(a->network_host().ports[0].uid, uid + "/0");
  EXPECT_TRUE(b->network_host().ports.empty());
  EXPECT_EQ(a->Calls("Start " + uid), 1);
}

// The pause before the next try is the loop's, in real time.
TEST_F(ClusterCardsTest, PortsCannotBeMade_IsTriedAgain) {
  NetworksOnBoth();
  a->network_host().error = {Code::kFailedPrecondition, "tap gmtp0: refused"};
  ASSERT_TRUE(a->Make("web", WithCard(*a)).has_value());
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (a->Stands() != "RUNNING a" && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    Tick();
  }
  EXPECT_EQ(a->Stands(), "RUNNING a");
  EXPECT_EQ(a->Calls("Start " + a->Vm().uid()), 1);  // the first had no ports
  EXPECT_FALSE(a->network_host().error.has_value());
}

// ---- which node may have it ------------------------------------------------------------------------

TEST_F(ClusterCardsTest, NoNodeHasTheNetwork_IsRefusedByField) {
  const auto made = a->Make("web", WithCard(*a));
  ASSERT_FALSE(made.has_value());
  EXPECT_NE(made.error().message().find("nics[0].network: \"projects/p/networks/lan\": no node"),
            std::string::npos)
      << made.error().message();
  EXPECT_FALSE(etcd.keys.contains(etcd::SpecKey(1)));
}

TEST_F(ClusterCardsTest, NetworksDiffer_IsRefusedWithBoth) {
  ASSERT_TRUE(a->MakeNetwork(kSubnet).has_value());
  ASSERT_TRUE(b->MakeNetwork("10.89.0.0/24").has_value());
  ASSERT_TRUE(Until([&] { return NetworksKnownTo(*a) == 2; }));
  const auto made = a->Make("web", WithCard(*a));
  ASSERT_FALSE(made.has_value());
  EXPECT_NE(made.error().message().find("node b has 10.89.0.0/24, not 10.88.0.0/24"),
            std::string::npos)
      << made.error().message();
}

TEST_F(ClusterCardsTest, OneNodeHasTheNetwork_RunsThereAloneAndSaysWhy) {
  NetworkOn(*a);
  RunOnNetwork();
  EXPECT_EQ(
      Obstacles(*b),
      "nodes/b: spec.nics[0].network \"projects/p/networks/lan\": there is no such network\n");
  const v1::ClusterStatus status = b->Show();
  EXPECT_TRUE(std::any_of(status.alerts().begin(), status.alerts().end(), [](const auto& alert) {
    return alert.find("not its networks") != std::string::npos;
  }));
  a->lost = true;
  ASSERT_TRUE(Until([&] { return b->Vm().status().reason() == "NO_NETWORK"; }))
      << b->Vm().status().reason();
  EXPECT_NE(b->Vm().status().message().find("nodes/b"), std::string::npos);
  EXPECT_EQ(b->Calls("Start " + b->Vm().uid()), 0);
  // Once it is made, the machine goes there.
  ASSERT_TRUE(b->MakeNetwork(kSubnet).has_value());
  EXPECT_TRUE(Until([&] { return b->Stands() == "RUNNING b"; })) << b->Stands();
  EXPECT_EQ(b->network_host().ports.size(), 1U);
}

TEST_F(ClusterCardsTest, NetworkMadeAMomentAgo_StartWaitsUntilTheClusterKnowsOfIt) {
  ASSERT_TRUE(a->MakeNetwork(kSubnet).has_value());
  ASSERT_TRUE(Until([&] { return IsThere(*a->published->networks.Get(kLan)); }));
  const auto made = a->Make("web", WithCard(*a));
  ASSERT_TRUE(made.has_value()) << made.error().message();
  ASSERT_TRUE(Until([&] { return a->published->operations.Get(made->name())->done(); }));
  EXPECT_EQ(a->published->operations.Get(made->name())->error().message(), "");
  EXPECT_EQ(a->Stands(), "RUNNING a");
}

TEST_F(ClusterCardsTest, MadeOnTheNodeWithoutTheNetwork_RunsOnTheOther) {
  NetworkOn(*b);
  const auto made = a->Make("web", WithCard(*a));
  ASSERT_TRUE(made.has_value()) << made.error().message();
  EXPECT_TRUE(Until([&] { return b->Stands() == "RUNNING b"; })) << b->Stands();
  EXPECT_EQ(b->Vm().spec().nics(0).ip_address(), "10.88.0.2");
}

TEST_F(ClusterCardsTest, NetworkOfThePreferredNodeFails_GoesToTheOther) {
  NetworksOnBoth();
  a->network_host().report.problems[a->network_host().networks.at(0).uid] = "the bridge is gone";
  ASSERT_TRUE(
      Until([&] { return a->published->networks.Get(kLan)->state() == v1::NETWORK_STATE_FAILED; }));
  ASSERT_TRUE(a->Make("web", WithCard(*a)).has_value());
  EXPECT_TRUE(Until([&] { return b->Stands() == "RUNNING b"; })) << b->Stands();
  EXPECT_NE(Obstacles(*b).find("the bridge is gone"), std::string::npos) << Obstacles(*b);
}

// ---- addresses -------------------------------------------------------------------------------------

TEST_F(ClusterCardsTest, AddressesOfMachinesOfTheOtherNode_AreNotGivenAgain) {
  NetworksOnBoth();
  ASSERT_TRUE(b->Make("own", Ordinary(*b)).has_value());
  ASSERT_TRUE(a->Make("own", Ordinary(*a)).has_value());
  ASSERT_TRUE(b->Make("other", Ordinary(*b)).has_value());
  EXPECT_EQ(b->Vm("projects/p/vms/other").spec().nics(0).ip_address(), "10.88.0.3");
  After(3'000);
  RunOnNetwork();
  EXPECT_EQ(a->Vm().spec().nics(0).ip_address(), "10.88.0.4");
  const auto taken = a->Make("db", WithCard(*a, "10.88.0.3"));
  ASSERT_FALSE(taken.has_value());
  EXPECT_NE(taken.error().message().find("10.88.0.3"), std::string::npos);
}

TEST_F(ClusterCardsTest, AddressesOfMachinesOfTheCluster_AreNotGivenAgainByAnyNode) {
  NetworksOnBoth();
  RunOnNetwork();
  ASSERT_TRUE(b->Make("own", Ordinary(*b)).has_value());
  EXPECT_EQ(b->Vm("projects/p/vms/own").spec().nics(0).ip_address(), "10.88.0.3");
  const std::string mac = b->Vm().spec().nics(0).mac_address();
  EXPECT_FALSE(b->Make("db", WithCard(*b, "", mac)).has_value());
  EXPECT_FALSE(b->Make("db", WithCard(*b, "10.88.0.2")).has_value());
}

// What two nodes give at the same moment is given once.
TEST_F(ClusterCardsTest, SameAddressAtTheSameMoment_OneOfThemIsRefused) {
  NetworksOnBoth();
  std::vector<ApiResult<v1::Operation>> made;
  for (MemberNode* const node : {a.get(), b.get()}) {
    v1::CreateVirtualMachineRequest request;
    request.set_parent("projects/p");
    request.set_vm_id(node->name());
    *request.mutable_virtual_machine() = WithCard(*node, "10.88.0.9");
    node->manager().Create({"user:test", "Create", "", node->name(), false}, request,
                           [&](ApiResult<v1::Operation> one) { made.push_back(std::move(one)); });
  }
  ASSERT_TRUE(Until([&] { return made.size() == 2; }));
  EXPECT_NE(made[0].has_value(), made[1].has_value());
}

// ---- cables ----------------------------------------------------------------------------------------

TEST_F(ClusterCardsTest, PulledCable_IsPulledOnEachNode) {
  NetworksOnBoth();
  v1::VirtualMachine machine = WithCard(*a);
  machine.mutable_spec()->mutable_nics(0)->set_link_down(true);
  ASSERT_TRUE(a->Make("web", machine).has_value());
  ASSERT_TRUE(Until([&] { return b->Stands() == "RUNNING a"; })) << b->Stands();
  const VmUid uid = a->Vm().uid();
  EXPECT_TRUE(Until([&] { return a->supervisor().vms().at(uid).links.contains("net0"); }));
  EXPECT_FALSE(a->supervisor().vms().at(uid).links.at("net0"));
  a->lost = true;
  ASSERT_TRUE(Until([&] { return b->Stands() == "RUNNING b"; })) << b->Stands();
  EXPECT_TRUE(Until([&] { return b->supervisor().vms().at(uid).links.contains("net0"); }));
}

}  // namespace
}  // namespace gemel::daemon
