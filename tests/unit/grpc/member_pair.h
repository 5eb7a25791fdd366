// Two nodes of a cluster as gemeld has them, without sockets, processes and disks: a ClusterMember and the
// records (VmManager) of each, with real keepers, over one etcd in memory, in a time that the test turns.
#pragma once
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "etcd/codec.h"
#include "etcd/spec_codec.h"
#include "grpc/cluster_member.h"
#include "grpc/disk_pools.h"
#include "grpc/vm_manager.h"
#include "tests/explorer/storage_model.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_network_host.h"
#include "tests/fakes/fake_vm_store.h"
#include "tests/fakes/fake_vm_supervisor.h"
#include "tests/unit/grpc/local_keeper.h"

namespace gemel::daemon {

inline const std::string kWeb = "projects/p/vms/web";

// A disk of each machine, by its number.
using DisksOfAll = std::map<ClusterVm, explorer::Storage>;

class MemberNode : ClusterDisks {
 public:
  MemberNode(cluster::NodeId id, EventLoop* loop, etcd::FakeKv* etcd, DisksOfAll* disks,
             std::string folder)
      : id_(id), loop_(loop), disks_(disks), folder_(std::move(folder)), kv_(etcd) {
    clock_.realtime_ns = 1'700'000'000'000'000'000;
    clock_.monotonic_ns = 1'000'000'000;
    keeper_.Start();
    StartDaemon();
  }
  ~MemberNode() override { manager_.reset(); }

  // ---- what a test does to it
  bool lost = false;  // without power: nothing of it happens any more
  static constexpr std::uint64_t kMemory = 4ull << 30;
  // Agents of its own for other nodes, from the next StartDaemon() on, and what they say; null: they hang.
  std::map<std::string, FenceAgent> agents;
  std::function<FenceOutcome(const std::string& action)> agent_says;
  std::vector<std::string> agent_calls;
  std::uint64_t ordinary_memory = 0;  // of it, what machines of its own have
  IscsiClusterDisks::Known known;     // of each machine's disks
  // As if it had been killed and begun anew; machines run on.
  void StartDaemon() {
    manager_.reset();
    member_.reset();
    timers_ = std::move(*Timers::Create(loop_, &clock_));
    published = std::make_unique<Published>();
    manager_ = std::make_unique<VmManager>(loop_, timers_.get(), &clock_, &store_, published.get(),
                                           Options());
    etcd::NodeInfo self{name(), "", "1", kMemory};
    fencing_ = std::make_unique<Fencing>(
        agents,
        [this](const FenceAgent&, const std::string& action, Fencing::Done done) {
          agent_calls.push_back(action);
          later_.Add([this, action, done = std::move(done)] {
            if (agent_says) done(agent_says(action));
          });
        },
        [this] { return Now(); });
    self.can_fence = fencing_->nodes();
    member_ =
        std::make_unique<ClusterMember>(id_, self,
                                        ClusterMember::Outside{loop_,
                                                               &clock_,
                                                               &kv_,
                                                               &keeper_,
                                                               this,
                                                               {},
                                                               &supervisor_,
                                                               manager_->records(),
                                                               [this] { return Now(); },
                                                               [this](ClusterVm) { return known; },
                                                               [this] { return ordinary_memory; },
                                                               nullptr,
                                                               fencing_.get()});
    manager_->Join(member_.get());
    manager_->Begin(&supervisor_, [](const Status& status) { EXPECT_TRUE(status.has_value()); });
  }
  // This node loses the majority, its gemeld sees etcd still.
  void CutKeeper(bool cut) { keeper_.Cut(cut); }

  ApiResult<v1::Operation> Create(const std::string& id, v1::FailoverSpec failover = {},
                                  bool with_disk = false) {
    v1::VirtualMachine machine = Machine(std::move(failover));
    if (with_disk) {
      v1::DiskAttachment& disk = *machine.mutable_spec()->add_disks();
      disk.mutable_iscsi()->set_target("san");
      disk.mutable_iscsi()->set_lun(1);
    }
    return Make(id, std::move(machine));
  }
  // With the disks of `spec`.
  ApiResult<v1::Operation> CreateWith(const std::string& id, v1::FailoverSpec failover,
                                      const v1::VirtualMachineSpec& spec) {
    v1::VirtualMachine machine = Machine(std::move(failover));
    *machine.mutable_spec()->mutable_disks() = spec.disks();
    return Make(id, std::move(machine));
  }
  // As `machine` is.
  ApiResult<v1::Operation> Make(const std::string& id, v1::VirtualMachine machine) {
    v1::CreateVirtualMachineRequest request;
    request.set_parent("projects/p");
    request.set_vm_id(id);
    *request.mutable_virtual_machine() = std::move(machine);
    reply_.reset();
    manager_->Create(Call("Create"), request, Keep());
    return Answer();
  }
  // projects/p/networks/lan; without a subnet, a bridge of the host.
  ApiResult<v1::Operation> MakeNetwork(const std::string& subnet) {
    v1::CreateNetworkRequest request;
    request.set_parent("projects/p");
    request.set_network_id("lan");
    if (subnet.empty())
      request.mutable_network()->mutable_host_bridge()->set_interface("br0");
    else
      request.mutable_network()->mutable_managed_bridge()->set_subnet(subnet);
    reply_.reset();
    manager_->CreateNetwork(Call("CreateNetwork"), request, Keep());
    return Answer();
  }
  // A file that both nodes have and that refuses nobody, as projects/p/disks/`id`; or of a pool.
  ApiResult<v1::Operation> CreateDisk(const std::string& id, const std::string& pool = "") {
    v1::CreateDiskRequest request;
    request.set_parent("projects/p");
    request.set_disk_id(id);
    if (pool.empty()) {
      request.mutable_disk()->set_block_device(folder_ + "/disk");
      disks_are_mute_ = true;
    } else {
      request.mutable_disk()->set_pool(pool);
      request.mutable_disk()->set_size_bytes(512);
    }
    reply_.reset();
    manager_->CreateDisk(Call("CreateDisk"), request, Keep());
    return Answer();
  }
  template <class Request>
  ApiResult<v1::Operation> Do(void (VmManager::*method)(CallInfo, Request, VmManager::Reply),
                              bool force = false) {
    Request request;
    request.set_name(kWeb);
    if constexpr (requires { request.set_force(true); }) request.set_force(force);
    reply_.reset();
    const std::string name = Request::descriptor()->name();  // StartVirtualMachineRequest
    (manager_.get()->*method)(Call(name.substr(0, name.find("VirtualMachine"))), request, Keep());
    return Answer();
  }
  v1::VirtualMachine Machine(v1::FailoverSpec failover = {}) const {
    v1::VirtualMachine vm;
    vm.mutable_spec()->mutable_boot()->set_kernel(folder_ + "/kernel");
    vm.mutable_spec()->mutable_memory()->set_size_bytes(64 << 20);
    *vm.mutable_spec()->mutable_failover() = std::move(failover);
    vm.set_desired_state(v1::DESIRED_STATE_RUNNING);
    return vm;
  }

  // ---- what it is
  std::string name() const { return std::string(1, static_cast<char>('a' + id_ - 1)); }
  ClusterMember& member() { return *member_; }
  VmManager& manager() { return *manager_; }
  testing::FakeVmSupervisor& supervisor() { return supervisor_; }
  testing::FakeNetworkHost& network_host() { return network_host_; }
  v1::VirtualMachine Vm(const std::string& vm = kWeb) const {
    const auto found = published->vms.Get(vm);
    return found == nullptr ? v1::VirtualMachine() : *found;
  }
  // "RUNNING a"; empty: it does not know such a machine.
  std::string Stands(const std::string& vm = kWeb) const {
    const v1::VirtualMachine found = Vm(vm);
    if (found.name().empty()) return "";
    const std::string node = found.status().node();
    return v1::VirtualMachineState_Name(found.status().state()).substr(22) +
           (node.empty() ? "" : " " + node.substr(6));
  }
  long Calls(const std::string& call) const {
    return std::count(supervisor_.calls().begin(), supervisor_.calls().end(), call);
  }
  bool Runs(const VmUid& uid) {
    const auto found = supervisor_.vms().find(uid);
    return found != supervisor_.vms().end() && !found->second.exit;
  }
  // Runs, and its page lets it issue.
  bool Issues(const VmUid& uid) {
    const auto found = supervisor_.vms().find(uid);
    return found != supervisor_.vms().end() && !found->second.exit && found->second.fence &&
           !found->second.fence->latched &&
           keeper_.page().Allows(found->second.fence->session, Now());
  }
  v1::ClusterStatus Show() {
    v1::ClusterStatus status;
    member_->FillStatus(status);
    return status;
  }

  void Tick(bool look) {
    clock_.Advance(10'000'000);
    if (lost) return;
    LatchThoseThatMust();
    keeper_.Tick();
    timers_->RunDue();
    if (look) member_->Look();
  }
  bool Deliver() {
    if (lost) return false;
    bool any = keeper_.Deliver();
    any = kv_.Deliver() || any;
    return later_.Run() || any;
  }

  std::unique_ptr<Published> published;

 private:
  cluster::Time Now() const { return {clock_.monotonic_ns / 1000}; }
  VmManager::Options Options() {
    VmManager::Options options;
    options.node = name();
    options.paths.boot_folders = {folder_};
    options.paths.disk_path = [this](std::string_view) -> ApiResult<std::string> {
      return folder_ + "/disk";
    };
    options.pools = &pools_;
    options.paths.tap_name = [](const std::string&) { return "tap"; };
    options.memory_capacity = kMemory;
    options.paths.iscsi.targets["san"] = {"10.0.0.9", "iqn.2026-11.test:disk", "", "", {}};
    options.paths.iscsi.initiator = "iqn.2026-11.test:" + name();
    options.networks = &network_host_;
    options.host_bridges = {"br0"};
    return options;
  }
  CallInfo Call(const std::string& method) {
    return {"user:test", method, "", method + std::to_string(++calls_), false};
  }
  VmManager::Reply Keep() {
    return [this](ApiResult<v1::Operation> result) { reply_ = std::move(result); };
  }
  ApiResult<v1::Operation> Answer() {
    for (int i = 0; i < 100 && !reply_; ++i) {
      loop_->RunOnce(0);
      Deliver();
    }
    if (!reply_) return std::unexpected(MakeApiError(Code::kUnknown, "NO_REPLY", "no reply"));
    return *reply_;
  }
  void LatchThoseThatMust() {
    for (auto& [uid, vm] : supervisor_.vms()) {
      if (vm.exit || !vm.fence || vm.fence->latched || Issues(uid)) continue;
      supervisor_.Latch(uid);
    }
  }
  // ClusterDisks
  void Execute(ClusterVm vm, const cluster::StorageCommand& command, Done done) override {
    later_.Add([this, vm, command, done = std::move(done)] {
      done(disks_are_mute_ ? explorer::MuteAnswer(command) : (*disks_)[vm].Execute(command));
    });
  }

  const cluster::NodeId id_;
  EventLoop* const loop_;
  DisksOfAll* const disks_;
  const std::string folder_;
  const DiskPools pools_{{{"default", folder_ + "/pool"}}, {folder_ + "/disk"}};
  bool disks_are_mute_ = false;
  testing::FakeClock clock_;
  LaterQueue later_;
  etcd::RemoteKv kv_;
  LocalKeeper keeper_{id_, loop_, kv_.below(), &clock_, &later_, [this] { member_->Look(); }};
  testing::FakeVmStore store_;
  testing::FakeNetworkHost network_host_{loop_};
  testing::FakeVmSupervisor supervisor_{
      loop_, [this](const VmUid& uid, const VmEvent& event) { manager_->OnVmEvent(uid, event); }};
  std::unique_ptr<Timers> timers_;
  std::unique_ptr<VmManager> manager_;
  std::unique_ptr<Fencing> fencing_;
  std::unique_ptr<ClusterMember> member_;
  std::optional<ApiResult<v1::Operation>> reply_;
  int calls_ = 0;
};

class MemberPair : public ::testing::Test {
 protected:
  MemberPair() {
    std::string pattern = ::testing::TempDir() + "memberXXXXXX";
    folder_ = mkdtemp(pattern.data());
    std::ofstream(folder_ + "/kernel") << "kernel";
    std::ofstream(folder_ + "/disk") << std::string(512, 'd');
    etcd.Put("/gemel/nodes/incarnation", etcd::EncodeIncarnation(1));
    a = std::make_unique<MemberNode>(1, loop.get(), &etcd, &disks, folder_);
    b = std::make_unique<MemberNode>(2, loop.get(), &etcd, &disks, folder_);
    EXPECT_TRUE(Until([&] { return IsLive(*a) && IsLive(*b); }));
  }
  ~MemberPair() override {
    a.reset();
    b.reset();
    std::filesystem::remove_all(folder_);
  }

  static bool IsLive(MemberNode& node) {
    const v1::ClusterStatus status = node.Show();
    return status.has_session() && status.nodes_size() == 2 && status.nodes(0).live() &&
           status.nodes(1).live();
  }
  void Tick() {
    const bool look = ++ticks_ % 10 == 0;
    a->Tick(look);
    b->Tick(look);
    for (int turn = 0; turn < 20; ++turn) {
      loop->RunOnce(0);
      const bool at_a = a->Deliver();
      const bool any = b->Deliver() || at_a;
      if (!any && turn > 2) break;
    }
  }
  void After(std::int64_t ms) {
    for (; ms > 0; ms -= 10) Tick();
  }
  bool Until(const std::function<bool()>& wanted) {
    for (int ticks = 0; ticks < 3000; ++ticks) {
      if (wanted()) return true;
      Tick();
    }
    return false;
  }
  // It runs on A, and both know; its uid.
  VmUid RunOnA(v1::FailoverSpec failover = {}, bool with_disk = false) {
    failover.set_preferred_node("nodes/a");
    const auto created = a->Create("web", failover, with_disk);
    EXPECT_TRUE(created.has_value()) << created.error().message();
    EXPECT_TRUE(Until([&] { return a->Stands() == "RUNNING a" && b->Stands() == "RUNNING a"; }))
        << a->Stands() << ", " << b->Stands();
    return a->Vm().uid();
  }

  std::string folder_;
  std::unique_ptr<EventLoop> loop = std::move(*EventLoop::Create());
  etcd::FakeKv etcd;
  DisksOfAll disks;
  std::unique_ptr<MemberNode> a;
  std::unique_ptr<MemberNode> b;
  int ticks_ = 0;
};

}  // namespace gemel::daemon
