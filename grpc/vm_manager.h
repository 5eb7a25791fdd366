// The rules: what becomes of each machine of this node. One loop's thread owns it all; services Post
// to it and read what it publishes (Directory, EventLog).
//
// A call is checked, its intent is made durable in one transaction with its operation, its request id
// and its event, and only then is it answered and acted upon. Acting is Reconcile's alone: the same
// code after a call, after the end of a process, and at the start of the daemon. Nothing is acted
// upon or published before it is durable. What a process did by itself while the store could not be
// written is kept, and stored once it can be.
#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/event_loop.h"
#include "grpc/access/authorizer.h"
#include "grpc/api_error.h"
#include "grpc/cluster_seat.h"
#include "grpc/convert.h"
#include "grpc/directory.h"
#include "grpc/disk_pools.h"
#include "grpc/event_log.h"
#include "grpc/timers.h"
#include "grpc/vm_store.h"
#include "grpc/vm_supervisor.h"
#include "proto/gemel/v1/nodes.pb.h"

namespace gemel::hostnet {
struct NetworkSpec;
struct PortSpec;
struct Repair;
}  // namespace gemel::hostnet

namespace gemel::daemon {

class NetworkHost;
struct NetworkReport;

// Who calls, and what makes the call the same one when it comes again.
struct CallInfo {
  std::string caller;
  std::string method;       // "Start"
  std::string request_id;   // empty: never the same call twice
  std::string fingerprint;  // of the whole request
  bool validate_only = false;
};

// What a machine's process had used at a time.
struct VmSample {
  VmUid uid;
  std::int64_t realtime_ns = 0;   // for people
  std::int64_t monotonic_ns = 0;  // for its age: the host's time may be set
  VmStatistics statistics;
};

// Another node of this one's cluster.
struct ClusterPeer {
  std::string address;  // where its gemeld takes calls of other nodes; empty: nowhere
  bool operator==(const ClusterPeer&) const = default;
};

// Published to gRPC's threads.
struct Published {
  Directory<v1::VirtualMachine> vms;
  Directory<v1::Operation> operations;
  Directory<v1::Disk> disks;
  Directory<v1::Network> networks;
  Directory<VmSample> samples;      // by the machine's name; VmSampler
  Directory<std::string> problems;  // of the node, by condition: "store"; none: it is well
  Directory<v1::HealthCondition> conditions;  // of the node, as last looked at; NodeHealth
  Directory<ClusterPeer> peers;               // by name; ClusterMember
  std::unique_ptr<EventLog> events;
};

class VmManager : private ClusterRecords {
 public:
  using Reply = std::function<void(ApiResult<v1::Operation>)>;

  struct Options {
    std::string node = "node";
    HostPaths paths;
    std::uint64_t memory_capacity = 0;      // bytes that machines may have together; 0: not limited
    std::uint32_t cpu_capacity_millis = 0;  // reservations together; 0: not limited
    const access::Authorizer* quotas = nullptr;  // null: none
    const DiskPools* pools = nullptr;            // null: no disks
    EventLoop* worker = nullptr;                 // on another thread: what takes time with files
    NetworkHost* networks = nullptr;             // null: no networks
    std::vector<std::string> host_bridges;       // that networks may be
  };

  // All outlive it. `published->events` is made by Begin.
  VmManager(EventLoop* loop, Timers* timers, const Clock* clock, VmStore* store,
            Published* published, Options options);
  ~VmManager() override;

  // Before Begin: this node is one of a cluster's. It outlives the manager, or its last call.
  void Join(ClusterSeat* cluster) { cluster_ = cluster; }
  ClusterRecords* records() { return this; }

  // Reads the store, publishes, finds the processes again and reconciles. `ready` is called once, with
  // what could not be read; calls may come from then on. `supervisor` outlives the manager.
  void Begin(VmSupervisor* supervisor, std::function<void(Status)> ready);
  void OnVmEvent(const VmUid& uid, const VmEvent& event);

  // ---- calls; each replies exactly once, now or later
  void Create(CallInfo call, v1::CreateVirtualMachineRequest request, Reply reply);
  void Update(CallInfo call, v1::UpdateVirtualMachineRequest request, Reply reply);
  void Delete(CallInfo call, v1::DeleteVirtualMachineRequest request, Reply reply);
  void Start(CallInfo call, v1::StartVirtualMachineRequest request, Reply reply);
  void Shutdown(CallInfo call, v1::ShutdownVirtualMachineRequest request, Reply reply);
  void Stop(CallInfo call, v1::StopVirtualMachineRequest request, Reply reply);
  void Reset(CallInfo call, v1::ResetVirtualMachineRequest request, Reply reply);
  void Pause(CallInfo call, v1::PauseVirtualMachineRequest request, Reply reply);
  void Resume(CallInfo call, v1::ResumeVirtualMachineRequest request, Reply reply);
  void CancelOperation(const CallInfo& call, const std::string& name, Reply reply);
  void CreateDisk(CallInfo call, v1::CreateDiskRequest request, Reply reply);
  // Before the bytes of an upload are taken: replies with the operation of the same call's first
  // time, or with one without a name if they may come.
  void CheckUpload(CallInfo call, v1::CreateDiskRequest request, Reply reply);
  // Once they are in the pool's file for uploads of `uid` (disk_upload.h).
  void FinishUpload(CallInfo call, v1::CreateDiskRequest request, std::string uid, Reply reply);
  void UpdateDisk(CallInfo call, v1::UpdateDiskRequest request, Reply reply);
  void DeleteDisk(CallInfo call, v1::DeleteDiskRequest request, Reply reply);
  void CreateNetwork(CallInfo call, v1::CreateNetworkRequest request, Reply reply);
  void UpdateNetwork(CallInfo call, v1::UpdateNetworkRequest request, Reply reply);
  void DeleteNetwork(CallInfo call, v1::DeleteNetworkRequest request, Reply reply);
  using LeasesReply = std::function<void(ApiResult<std::vector<v1::Lease>>)>;
  void Leases(const std::string& network, const LeasesReply& reply);

  // The host goes down: guests of this node's own machines are asked to switch themselves off. What
  // machines shall be stays as it is, and nothing is started any more: they run again with the host.
  // `done` once each guest is off, or has had its time (spec.shutdown_timeout, at most five minutes).
  void StopWithHost(std::function<void()> done);
  // An event: a condition of this node is another.
  Status TellNode(const v1::HealthCondition& condition);

  // Replies when the operation is done. The id is for ForgetWait, which drops the reply.
  std::uint64_t WaitOperation(const std::string& name, Reply reply);
  void ForgetWait(std::uint64_t id);

  // For Consoles, Inspect and statistics: the uid of a machine, kNotFound.
  ApiResult<VmUid> UidOf(const std::string& name) const;
  VmSupervisor* supervisor() { return supervisor_; }

 private:
  static constexpr std::int64_t kRetryMs = 1000;  // after the store or the host refused

  enum class Process : std::uint8_t { kNone, kStarting, kRunning, kPaused };
  struct Vm {
    StoredVm stored;
    Process process = Process::kNone;
    bool busy = false;       // the supervisor owes an answer
    bool off_asked = false;  // PowerOff was, its end is to come
    bool button_pressed = false;
    bool silent = false;                  // HEARTBEAT_STOPPED was told
    std::uint64_t disk_errors = 0;        // not told yet
    std::int64_t next_disk_error_ns = 0;  // no event of them before this (CLOCK_MONOTONIC)
    std::optional<VmExit> exit;           // how its process ended, not stored yet
    bool exit_with_host = false;          // and the host with it: it is started again
    std::optional<ApiError> failure;      // why it could not be started, not stored yet
    std::int64_t not_before_ns = 0;       // no start before this (CLOCK_MONOTONIC)
    std::optional<Timers::Id> timer;      // of Reconcile
    std::set<std::string> operations;     // that are not done, by name
    // Of a machine of the cluster's: `process` is what it is on whichever node has it.
    ClusterStanding standing;
    bool stood = false;         // `standing` was told
    bool cluster_call = false;  // a change of it in etcd is under way
    bool held = false;  // its process here was paused for somebody; the latch is another thing
  };
  struct Waiter {
    std::string operation;
    Reply reply;
  };
  struct HostStop {
    std::set<VmUid> waits;  // for the ends of these
    std::function<void()> done;
  };
  using Change = std::function<ApiResult<void>(Vm&, StoredVm&, v1::Operation&, Batch&)>;

  // vm_manager_calls.cc
  template <class Request>
  void Act(const CallInfo& call, const Request& request, const Reply& reply, const Change& change);
  std::optional<ApiResult<v1::Operation>> Seen(const CallInfo& call) const;
  ApiResult<Vm*> FindForCall(const std::string& name, const std::string& etag);
  v1::Operation NewOperation(const CallInfo& call, std::string_view project,
                             const std::string& target, const std::string& uid) const;
  void Finish(const CallInfo& call, Batch batch, v1::Operation operation, const Reply& reply);
  ApiResult<void> Check(const v1::VirtualMachine& vm, std::string_view prefix) const;
  ApiResult<void> CheckDisks(const v1::VirtualMachine& vm, std::string_view spec) const;
  ApiResult<void> CheckLun(const v1::VirtualMachine& vm, const v1::DiskAttachment& disk,
                           const std::string& field) const;
  ApiResult<void> CheckQuota(const std::string& project, const access::Usage& more) const;
  ApiResult<void> ChangeDesired(Vm& vm, StoredVm& next, v1::DesiredState desired,
                                const v1::Operation& operation, Batch& batch);

  // vm_manager_cluster.cc
  static bool IsClusters(const Vm& vm) { return vm.stored.vm.spec().has_failover(); }
  bool IsHere(const Vm& vm) const { return !IsClusters(vm) || vm.standing.here; }
  ApiResult<void> CheckHere(const Vm& vm, std::string_view verb) const;
  ApiResult<void> CheckCluster(const v1::VirtualMachine& vm, std::string_view prefix) const;
  ApiResult<void> CheckOpenDisks(const v1::VirtualMachine& vm, std::string_view prefix) const;
  ApiResult<void> MayChangeCluster() const;
  void CreateInCluster(CallInfo call, StoredVm next, Reply reply);
  void FinishInCluster(CallInfo call, StoredVm next, Batch batch, v1::Operation operation,
                       Reply reply);
  void Renumber(Batch& batch) const;
  static etcd::MachineCall ToCluster(const CallInfo& call, const Batch& batch,
                                     const v1::Operation& operation);
  void TakeCalls(const ClusterSpec& spec, const Vm& vm, const StoredVm& next, Batch& batch) const;
  void SupersedeTaken(Batch& batch, const Vm& vm, const v1::Operation& by) const;
  void BeginCluster(const Adoption& adoption);
  void FillClusterStatus(const Vm& vm, StoredVm& next) const;
  bool TakeSpec(const ClusterSpec& spec) override;
  bool DropSpec(const VmUid& uid) override;
  v1::VirtualMachine StoppedSpec(const VmUid& uid) const override;
  void OnStanding(const VmUid& uid, const ClusterStanding& standing) override;
  void PrepareClusterStart(const VmUid& uid, Prepared done) override;
  ApiResult<VmStart> ReadyClusterStart(Vm& vm);
  void OnClusterBegun(const VmUid& uid) override;
  void OnClusterEnded(const VmUid& uid) override;
  ApiResult<std::vector<DiskConfig>> DisksOf(const VmUid& uid) const override;
  std::map<std::string, std::uint64_t> TakenEvents() const override;
  bool TakeEvents(const std::vector<v1::Event>& events) override;

  // vm_manager_pause.cc
  ApiResult<void> CheckPause(const Vm& vm) const;
  Process ClusterProcess(const Vm& vm, v1::DesiredState desired) const;
  static bool IsStuck(const Vm& vm, v1::DesiredState desired);
  void PursueHere(Vm& vm);
  void Turn(Vm& vm, Process to);
  bool OnTurned(Vm& vm, Process to, const Status& status);

  // vm_manager_state.cc
  void Touch(v1::VirtualMachine& vm) const;
  void FillStatus(const Vm& vm, StoredVm& next) const;
  void AddEvent(Batch& batch, v1::EventType type, const v1::VirtualMachine& vm,
                std::string_view reason, std::string_view message,
                const v1::Operation* operation = nullptr) const;
  void AddStateEvent(Batch& batch, const Vm& vm, const StoredVm& next,
                     const v1::Operation* operation) const;
  void EndOperation(Batch& batch, v1::Operation operation, const ApiError& error) const;
  void EndOperation(Batch& batch, v1::Operation operation,
                    const google::protobuf::Message& result) const;
  void Supersede(Batch& batch, const Vm& vm, const v1::Operation& by) const;
  static ApiError Superseded(const v1::Operation& by);
  void AddOperationEvents(Batch& batch) const;
  Status Commit(Batch batch);
  void Apply(const Batch& batch);
  static void LogEnd(const v1::Operation& operation);
  void ApplyOperation(const v1::Operation& operation);
  void AddUpkeep(Batch& batch) const;
  google::protobuf::Timestamp Now() const;

  // vm_manager_host.cc
  void AskToStop(Vm& vm);
  void StoppedWithHost(const VmUid& uid);

  // vm_manager_begin.cc
  void LoadContents(StoreContents contents);
  void Adopted(const Adoption& adoption);

  // vm_manager_reconcile.cc
  void Reconcile(const std::string& name);
  void ReconcileLater(Vm& vm, std::int64_t delay_ms);
  bool Settle(Vm& vm);
  void SettleEnd(const Vm& vm, StoredVm& next, Batch& batch) const;
  void SettleFailure(const Vm& vm, StoredVm& next, Batch& batch) const;
  void SettleOperations(const Vm& vm, const StoredVm& next, Batch& batch) const;
  static bool HasComeAbout(const Vm& vm, std::string_view verb);
  std::optional<ApiError> WhyNever(const Vm& vm, const StoredVm& next,
                                   const v1::Operation& operation) const;
  void Pursue(Vm& vm);
  void PursueRunning(Vm& vm);
  void PowerOff(Vm& vm);
  void PursueShutdown(Vm& vm, const v1::Operation& operation);
  bool Refused(Vm& vm, const Error& error);
  void TellDiskError(Vm& vm, const VmDiskError& trouble);
  void Answered(const VmUid& uid, const std::function<bool(Vm&)>& then);
  Vm* FindUid(const VmUid& uid);
  const v1::Operation* Pending(const Vm& vm, std::string_view verb) const;
  const v1::Operation* AnyPending(const Vm& vm) const;

  // vm_manager_start.cc
  void StartProcess(Vm& vm);
  void Launch(const VmUid& uid, VmStart start);
  ApiResult<VmStart> PrepareStart(const Vm& vm) const;
  ApiResult<void> CheckCapacity(const Vm& vm) const;
  void ApplyLive(Vm& vm);
  void ApplyLinks(const VmUid& uid, const v1::VirtualMachineSpec& spec, bool all);

  // vm_manager_disks.cc
  ApiResult<v1::Disk*> FindDisk(const std::string& name, const std::string& etag);
  ApiResult<void> CheckNewDisk(const std::string& name, v1::Disk& disk) const;
  ApiResult<v1::Disk> NewDisk(const v1::CreateDiskRequest& request) const;
  std::vector<std::string> UsersOf(const std::string& disk) const;
  void TouchDisk(v1::Disk& disk) const;
  void AddDiskEvent(Batch& batch, v1::EventType type, const v1::Disk& disk, std::string_view reason,
                    const v1::Operation* operation) const;
  void LoadDisks(std::vector<v1::Disk> disks);
  void PursueDisk(const v1::Disk& disk);
  struct DiskOutcome {
    Result<std::uint64_t> allocated = std::uint64_t{0};  // bytes; or why it is not as asked
    std::uint64_t size = 0;                              // of the file now; 0: not known
  };
  void SettleDisk(const std::string& name, const DiskOutcome& outcome);

  // vm_manager_networks.cc
  ApiResult<v1::Network*> FindNetwork(const std::string& name, const std::string& etag);
  ApiResult<void> CheckNetwork(v1::Network& network) const;
  std::vector<std::string> UsersOfNetwork(const std::string& network) const;
  void AddNetworkEvent(Batch& batch, v1::EventType type, const v1::Network& network,
                       std::string_view reason, std::string_view message,
                       const v1::Operation* operation) const;
  void NameMachines(const std::string& network, std::vector<v1::Lease>& leases) const;
  void PursueNetwork(const std::string& name);
  void DeleteNetworkLater(v1::Network network, const Error& error);
  void SettleNetwork(const std::string& name, const Status& outcome);

  // vm_manager_network_checks.cc
  void LoadNetworks(std::vector<v1::Network> networks);
  void AdoptNetworks(const Adoption& adoption);
  void EndNetworkUpdates();
  void CheckNetworksLater();
  void SettleNetworks(const NetworkReport& report);
  void AddRepair(Batch& batch, const hostnet::Repair& repair);

  // vm_manager_nics.cc
  ApiResult<void> SettleNics(v1::VirtualMachine& vm, const v1::VirtualMachineSpec* old,
                             std::string_view prefix) const;
  ApiResult<void> SettleNic(v1::VirtualMachine& vm, int index, const v1::VirtualMachineSpec* old,
                            std::string_view prefix) const;
  ApiResult<hostnet::NetworkSpec> OwnNetworkFor(const v1::VirtualMachine& vm,
                                                const v1::NetworkInterface& nic,
                                                const std::string& field) const;
  ApiResult<hostnet::NetworkSpec> ClusterNetworkFor(const v1::VirtualMachine& vm,
                                                    const v1::NetworkInterface& nic, bool anew,
                                                    const std::string& field) const;
  ApiResult<void> CheckPort(const v1::VirtualMachine& vm, int index,
                            const hostnet::NetworkSpec& network, const std::string& field) const;
  std::vector<etcd::NodeNetwork> Networks() const override;
  std::set<std::string> TakenBeside(const v1::VirtualMachine& vm, int index) const;
  std::vector<hostnet::PortSpec> PortsOf(const v1::VirtualMachine& vm,
                                         const v1::VirtualMachineSpec& spec) const;
  void OpenPorts(VmStart start, std::vector<hostnet::PortSpec> ports, Prepared done);
  void ClosePorts(const VmUid& uid, const v1::VirtualMachineSpec& spec);

  EventLoop* const loop_;
  Timers* const timers_;
  const Clock* const clock_;
  VmStore* const store_;
  Published* const published_;
  const Options options_;
  VmSupervisor* supervisor_ = nullptr;
  ClusterSeat* cluster_ = nullptr;  // none: this node is in no cluster
  std::set<std::string> creating_;  // machines of the cluster's, whose creation is under way

  std::map<std::string, Vm> vms_;                       // by name
  std::map<VmUid, std::string> names_;                  // by uid
  std::map<std::string, v1::Disk> disks_;               // by name
  std::map<std::string, v1::Network> networks_;         // by name
  std::map<std::string, v1::Network> network_updates_;  // as it was before one that is under way
  std::optional<Timers::Id> network_timer_;
  std::map<std::string, std::int64_t> repairs_told_;  // when (CLOCK_MONOTONIC, ns)
  std::map<std::string, v1::Operation> operations_;
  std::deque<std::string> done_operations_;  // oldest first
  std::map<std::string, StoredRequest> requests_;
  std::map<std::string, std::set<std::string>> requests_of_;  // keys, by operation
  std::map<std::uint64_t, Waiter> waiters_;
  std::uint64_t next_waiter_ = 1;
  std::uint64_t last_sequence_ = 0;
  std::map<std::string, std::uint64_t> taken_decisions_;  // by node: the last that was told here
  std::function<void(Status)> ready_;
  std::optional<HostStop> host_stop_;
  // Answers of the supervisor that come after the manager's end find it gone.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace gemel::daemon
