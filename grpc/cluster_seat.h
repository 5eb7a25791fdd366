// Between the records of machines (VmManager) and the cluster (ClusterMember): machines with
// spec.failover are the cluster's, kept in etcd and copied here. All on the manager loop's thread.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "cluster/records.h"
#include "etcd/spec_codec.h"
#include "grpc/api_error.h"
#include "grpc/vm_supervisor.h"
#include "proto/gemel/v1/events.pb.h"
#include "proto/gemel/v1/virtual_machines.pb.h"

namespace gemel::daemon {

// What a machine shall be, as etcd has it.
struct ClusterSpec {
  std::uint32_t vm = 0;        // its number
  v1::VirtualMachine machine;  // of its status, observed_generation alone
  bool deleting = false;
  bool at_once = false;  // if it is to stop: without asking its guest
  std::string reason;    // why it shall be so: a stable word; empty: somebody asked for it
  std::string message;
  // The calls that made it so. Of a change: the one that asks for it; etcd keeps some before it, too.
  std::vector<etcd::MachineCall> calls{};
};

// Feature levels (member/record.h) of what may be asked for of a machine.
inline constexpr std::uint32_t kOffProofsLevel = 2;
inline constexpr std::uint32_t kPausesLevel = 3;
inline constexpr std::uint32_t kHeartbeatLossLevel = 3;

// Why a machine that is paused is not: what stood still has gone with its process or its node.
inline constexpr std::string_view kPausedLost = "PAUSED_LOST";
inline constexpr std::string_view kNoNetwork = "NO_NETWORK";

// How a machine stands, as far as this node knows.
struct ClusterStanding {
  cluster::VmState record = cluster::VmState::kFree;
  cluster::Epoch epoch;
  std::string owner;        // the name of its node; empty: nobody has it
  bool owner_open = false;  // and that node's session is
  bool here = false;        // it has a process on this node
  bool begun = false;       // the guest of its process has, as far as this node can know
  bool latched = false;     // which stands still
  bool stuck = false;       // it shall run, and will not before something is changed
  std::string reason;       // why it does not run: a stable word; empty: it does, or is about to
  std::string message;
  bool operator==(const ClusterStanding&) const = default;
};

// The cluster, as the records ask it.
class ClusterSeat {
 public:
  struct AdoptedMachine {
    std::uint32_t vm = 0;
    AdoptedVm found;
  };
  using Done = std::function<void(const Status&)>;
  using Created = std::function<void(const Result<std::uint32_t>&)>;

  virtual ~ClusterSeat() = default;
  // Once, first: the cluster's machines that this node has copies of, and what was found of them.
  virtual void Begin(std::vector<AdoptedMachine> adopted) = 0;
  // kUnavailable says why nothing of the cluster's can be changed at the moment.
  virtual Status MayChange() const = 0;
  // By its name.
  virtual bool KnowsNode(const std::string& name) const = 0;
  // What other nodes say of their networks of that name, by their names.
  virtual std::map<std::string, etcd::NodeNetwork> NetworksOf(const std::string& name) const = 0;
  // kFailedPrecondition: not all members understand records of that feature level, which `what` needs.
  virtual Status KnowsLevel(std::uint32_t level, std::string_view what) const = 0;
  // Both change what etcd has, or nothing: kAborted if somebody else did at the same moment,
  // kAlreadyExists. After kUnavailable it is not known.
  virtual void Create(const ClusterSpec& spec, Created done) = 0;
  virtual void Change(const ClusterSpec& spec, Done done) = 0;
  // It is to be stopped, since its guest or its node had it so.
  virtual void StopItself(std::uint32_t vm, const std::string& reason,
                          const std::string& message) = 0;
  // Whether it was of a machine of the cluster's.
  virtual bool OnVmEvent(const VmUid& uid, const VmEvent& event) = 0;
  // What is new here may let it go on.
  virtual void Look() = 0;
};

// The records, as the cluster asks them.
class ClusterRecords {
 public:
  virtual ~ClusterRecords() = default;
  // Takes over what etcd has. False: not now, ask again; else it is durable here.
  virtual bool TakeSpec(const ClusterSpec& spec) = 0;
  // It is no longer in the cluster, and nothing of it is left here. False: ask again.
  virtual bool DropSpec(const VmUid& uid) = 0;
  // What it would be if it were stopped.
  virtual v1::VirtualMachine StoppedSpec(const VmUid& uid) const = 0;
  virtual void OnStanding(const VmUid& uid, const ClusterStanding& standing) = 0;
  // What it is started with here; durable. `done` is called once, now or later; what the host has for it
  // by then stays until OnClusterEnded.
  using Prepared = std::function<void(ApiResult<VmStart>)>;
  virtual void PrepareClusterStart(const VmUid& uid, Prepared done) = 0;
  // Its guest runs here. And: no process of it is left here, or comes of a start that was prepared.
  virtual void OnClusterBegun(const VmUid& uid) = 0;
  virtual void OnClusterEnded(const VmUid& uid) = 0;
  // This node's networks, by name, for other nodes to know.
  virtual std::vector<etcd::NodeNetwork> Networks() const = 0;
  // The disks that it would be started with.
  virtual ApiResult<std::vector<DiskConfig>> DisksOf(const VmUid& uid) const = 0;
  // The cluster's events that it has, by their node ("nodes/a"): the highest number of each.
  virtual std::map<std::string, std::uint64_t> TakenEvents() const = 0;
  // More of them, in their order. False: not now, ask again; else they are durable here.
  virtual bool TakeEvents(const std::vector<v1::Event>& events) = 0;
};

}  // namespace gemel::daemon
