// What of failover gemeld does: watches the other nodes, takes machines over, starts, resumes and gives
// them away by the rules of cluster/, and tells gemel-keeper when all is still. It decides nothing by
// itself but when to ask the rules; what a machine is, how its process runs and what its disk answers
// are its owner's, handed in. One thread.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "cluster/challenger.h"
#include "cluster/memory.h"
#include "cluster/vm_agent.h"
#include "etcd/store.h"
#include "grpc/keeper_link.h"

namespace gemel::daemon {

using ClusterVm = std::uint32_t;  // a machine's number in the cluster

// The processes of machines. What becomes of them is told by ClusterManager::OnProcess, later; a start
// or a resume that fails, too.
class ClusterMachines {
 public:
  struct Grant {
    UniqueFd page;
    cluster::SessionId session;
    cluster::Epoch epoch;
  };
  virtual ~ClusterMachines() = default;
  virtual void Start(ClusterVm vm, Grant grant) = 0;
  virtual void Resume(ClusterVm vm, Grant grant) = 0;
  virtual void Stop(ClusterVm vm) = 0;  // as its guest wishes
  virtual void Kill(ClusterVm vm) = 0;
};

// Disks that can refuse. `done` is called once, later; without an answer, with kUnknown.
class ClusterDisks {
 public:
  using Done = std::function<void(const cluster::StorageAnswer&)>;
  virtual ~ClusterDisks() = default;
  virtual void Execute(ClusterVm vm, const cluster::StorageCommand& command, Done done) = 0;
};

class ClusterManager {
 public:
  struct Outside {
    etcd::ClusterStore* store = nullptr;
    KeeperLink* keeper = nullptr;
    ClusterMachines* machines = nullptr;
    ClusterDisks* disks = nullptr;
    std::function<cluster::Time()> now;  // CLOCK_BOOTTIME
    cluster::Rules rules = {};           // others are tests' alone
  };

  // What `outside` names outlives it.
  ClusterManager(cluster::NodeId node, Outside outside);

  // Adds a machine, with the process that an earlier gemeld left running, if any.
  void Add(ClusterVm vm, const cluster::Process& process = {});
  // Forgets one of which no process is left here.
  void Remove(ClusterVm vm) { machines_.erase(vm); }
  // What shall become of it here; kLeave until said.
  void Want(ClusterVm vm, cluster::Want want, cluster::NodeId to = 0);
  // Whether its disk refuses nobody, so that who had it must be proved off; not before this is said.
  void ProveOff(ClusterVm vm, bool needed) { machines_.at(vm).prove_off = needed; }
  // What its process is now. A process that runs under the grant that was given last is not news.
  void OnProcess(ClusterVm vm, const cluster::Process& process);

  // To be committed, with whatever shall be put beside it, and answered by OnSaidOff.
  struct OffProposal {
    cluster::Txn txn;
    cluster::RequestId call;
  };
  // That another node is off, as somebody has found out. kNotFound, kFailedPrecondition (it lives, or
  // ended its session itself), kAlreadyExists (that is known), kUnavailable.
  Result<OffProposal> ProposeOff(cluster::NodeId node, cluster::OffBy by);
  void OnSaidOff(cluster::NodeId node, cluster::RequestId call, const cluster::TxnReply& reply);

  // Looks at the time, at the keeper and at all machines. At least every 100 ms, and when the keeper says
  // something; not before all processes that were left running are added. Follows the store once the
  // keeper was heard.
  void Run();

  // ---- for people and policies
  struct MachineStatus {
    ClusterVm vm = 0;
    cluster::Ownership record;
    cluster::Revision changed;  // its record's last change; 0: there is none
    cluster::Process process;
    cluster::Want want = cluster::Want::kLeave;
    bool refused = false;    // its disk has a key above ours: a person must look
    std::string unreadable;  // its record is there, and cannot be read
    // Whose being off has to be proved before it may start here; 0: nobody's.
    cluster::NodeId waits_for = 0;
  };
  struct PeerStatus {
    cluster::NodeId node = 0;
    cluster::SessionRecord record;
    cluster::Revision changed;
  };
  std::vector<MachineStatus> machines() const;
  std::vector<PeerStatus> peers() const;
  bool alarmed() const { return memory_.alarmed(); }
  // Whether anything of etcd was believed yet.
  bool shown() const { return shown_; }
  // Whether this node may take and start machines now.
  bool live() const { return Session().live; }

 private:
  struct Machine {
    cluster::VmAgent agent;
    cluster::Process process;
    cluster::Want want = cluster::Want::kLeave;
    cluster::NodeId want_node = 0;
    bool prove_off = false;
    cluster::AgentStep::ForProcess asked = cluster::AgentStep::ForProcess::kNothing;
    std::string unreadable;
    cluster::Time over_since = cluster::kNever;
    std::uint64_t storage_call = 0;  // the one whose answer is waited for
  };

  void OnView(const etcd::View& view, const etcd::ViewChange& change);
  void Believe(const etcd::View& view);
  void Show(Machine& machine, ClusterVm vm);
  void Forget();
  void Begin(const keeper::View& keeper);
  cluster::SessionView Session() const;
  std::vector<cluster::PeerSession> Peers() const;
  void Challenge(cluster::Time now, const cluster::SessionView& session);
  // What machines go by at one moment.
  struct Moment {
    cluster::Time now;
    cluster::SessionView session;
    std::vector<cluster::PeerSession> peers;
  };
  Moment Now() const;
  void RunOne(ClusterVm vm);
  void RunThoseThatWait();
  void CountAsked(cluster::Time now);
  void Act(const Moment& moment, ClusterVm vm, Machine& machine);
  void Ask(ClusterVm vm, const cluster::Txn& txn, cluster::RequestId id);
  void OnStorage(ClusterVm vm, std::uint64_t call, const cluster::StorageAnswer& answer);
  void ActOnProcess(ClusterVm vm, Machine& machine, const cluster::AgentStep& step);
  void KillIfStuck(cluster::Time now, ClusterVm vm, Machine& machine);
  void SayQuiet();
  bool IsQuiet(bool lives) const;

  cluster::NodeId node_;
  cluster::Rules rules_;
  Outside outside_;
  bool began_ = false;
  cluster::Memory memory_;  // from the keeper's on
  std::map<cluster::NodeId, cluster::Challenger> challengers_;
  std::map<ClusterVm, Machine> machines_;
  int asked_ = 0;              // of etcd, and not answered yet
  std::set<ClusterVm> would_;  // ask, when there are fewer of those
  std::map<ClusterVm, etcd::Entry<cluster::Ownership>> records_;  // as last believed
  bool shown_ = false;                                            // something was believed
  // What changed in views that could not be believed yet; all of it if all_unshown_.
  std::set<ClusterVm> unshown_;
  bool all_unshown_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace gemel::daemon
