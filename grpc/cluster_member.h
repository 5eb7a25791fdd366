// This node as a member of its cluster: follows what etcd says of machines and nodes, weighs what this
// node should want (ClusterWishes), has it done (ClusterManager, FencedMachines), and tells the records of
// gemeld how each machine stands. One thread, that of the manager loop.
#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/event_loop.h"
#include "base/timer.h"
#include "etcd/kv_store.h"
#include "etcd/spec_store.h"
#include "grpc/beat_rate.h"
#include "grpc/cluster_disks.h"
#include "grpc/cluster_events.h"
#include "grpc/cluster_manager.h"
#include "grpc/cluster_seat.h"
#include "grpc/cluster_wishes.h"
#include "grpc/directory.h"
#include "grpc/fenced_machines.h"
#include "grpc/fencing.h"
#include "grpc/paced_task.h"
#include "grpc/vm_manager.h"
#include "proto/gemel/v1/clusters.pb.h"

namespace gemel::daemon {

// Fences of machines whose disk refuses nobody.
inline constexpr std::string_view kOffByPerson = "off (person)";
inline constexpr std::string_view kOffByAgent = "off (agent)";
// "person", "agent"; empty: nobody.
std::string_view OffWord(cluster::OffBy off);

// Whether it shall stand still where it is.
bool IsPaused(const ClusterSpec& spec);

class ClusterMember final : public ClusterSeat {
 public:
  struct Outside {
    EventLoop* loop = nullptr;
    const Clock* clock = nullptr;
    etcd::Kv* kv = nullptr;
    KeeperLink* keeper = nullptr;
    ClusterDisks* disks = nullptr;
    ClusterIdentity identity;  // of this node's machines to `disks`
    VmSupervisor* supervisor = nullptr;
    ClusterRecords* records = nullptr;
    std::function<cluster::Time()> now;  // CLOCK_BOOTTIME
    // What is known of a machine's disks on targets; empty: nothing.
    std::function<IscsiClusterDisks::Known(ClusterVm vm)> known = {};
    // Of self.memory, bytes that machines have which are this node's own; empty: none.
    std::function<std::uint64_t()> ordinary_memory = {};
    // Other nodes are put there; null: nowhere.
    Directory<ClusterPeer>* peers = nullptr;
    // What switches other nodes off; null: nothing does.
    Fencing* fencing = nullptr;
  };

  // What `outside` names outlives it. `self`: what this node says of itself; drained is etcd's.
  ClusterMember(cluster::NodeId node, etcd::NodeInfo self, Outside outside);

  void Begin(std::vector<AdoptedMachine> adopted) override;
  Status MayChange() const override;
  bool KnowsNode(const std::string& name) const override;
  std::map<std::string, etcd::NodeNetwork> NetworksOf(const std::string& name) const override;
  Status KnowsLevel(std::uint32_t level, std::string_view what) const override;
  void Create(const ClusterSpec& spec, Created done) override;
  void Change(const ClusterSpec& spec, Done done) override;
  void StopItself(std::uint32_t vm, const std::string& reason, const std::string& message) override;
  bool OnVmEvent(const VmUid& uid, const VmEvent& event) override;
  void Look() override;

  // What a machine that is started here has.
  Result<std::vector<DiskConfig>> DisksOf(ClusterVm vm) const;

  // ---- for people (cluster_member_status.cc)
  void FillStatus(v1::ClusterStatus& out) const;  // all but the cluster's name
  // Of other nodes, by name: BeatRate's.
  std::map<std::string, double> ClockRates() const;
  // False: the cluster has no such machine.
  bool Explain(const std::string& name, v1::Explanation& out) const;
  using DrainReply = std::function<void(ApiResult<v1::ClusterNode>)>;
  void SetDrained(const std::string& name, bool drained, const DrainReply& reply);
  // ---- what a person vouches for (cluster_member_off.cc)
  struct DeadNode {
    std::string name;     // nodes/{node}
    std::string session;  // the one that was lost: "1.7"
    std::string reason;   // how the caller knows
    std::string caller;
  };
  // That it is off: machines whose disk refuses nobody may be taken from that session. Refused while the
  // node has one, and if the last one is another. Durable, with who said so, before it is answered.
  void ConfirmDead(const DeadNode& word, const DrainReply& reply);
  using FenceReply = std::function<void(ApiResult<v1::FenceTest>)>;
  // Asks this node's agent for that node whether it is on or off, and no more.
  void TestFence(const std::string& name, const FenceReply& reply) const;

 private:
  // The store, with a look after each view.
  class SeenStore : public etcd::ClusterStore {
   public:
    explicit SeenStore(ClusterMember* member) : member_(member) {}
    void Commit(const cluster::Txn& txn, Done done) override;
    void Watch(OnView on_view) override;

   private:
    ClusterMember* member_;
  };
  struct Machine {
    VmUid uid;
    ClusterSpec spec;  // as the records have it
    cluster::Revision revision;
    bool taken = false;  // since this daemon began
    bool gone = false;   // etcd has no such number, or gave it to another machine
    bool killed = false;
    bool changing = false;  // a change of etcd's is under way
    Wish wish;
    bool waits = false;  // for a proof that who had it is off; until then this node does nothing
    std::optional<std::pair<std::string, std::string>> ended;  // it shall stop: reason, message
    std::vector<cluster::Time> ends;                           // by itself, in its window
    std::string failure;                                       // of its last start
    std::optional<std::string> silence;  // its process owes an answer: for how long
    int silent_turns = 0;                // of this daemon since, in which it could have come
    cluster::Time silent_turn;           // the last of them
    bool begun = false;                  // the guest of its process here has
    std::optional<ClusterStanding> told;
    std::string last_owner;  // the node that ran it last, as far as this one has seen
    cluster::Epoch ran;      // and in which epoch
    bool lost = false;       // with its node; until another runs it
    std::deque<std::pair<std::int64_t, std::string>> decisions;  // when (ns since 1970), what
  };

  // A node's heartbeat as last seen to change, on this node's clock.
  struct Beat {
    cluster::Revision changed;
    cluster::Time at;
    BeatRate rate;
  };

  void Tick();
  void NoteBeats(const etcd::View& view);
  void NoteGone();
  bool IsGone(ClusterVm vm, const Machine& machine) const;
  void SayDrained();
  void Decide(Machine& machine, std::string text);

  // ---- the cluster's events (cluster_member_events.cc)
  void TellOfMachine(Machine& machine, const ClusterStanding& next, const ClusterSeen& seen);
  void TellOfNodes();
  void TellOf(const Machine& machine, v1::EventType type, const cluster::Epoch& epoch,
              std::string_view reason, std::string message);
  bool SpeaksForAll(const ClusterSeen& seen) const;
  // 0: nobody, or it is not over yet.
  static cluster::NodeId WaitsForProofOf(const ClusterManager::MachineStatus& status,
                                         const ClusterSeen& seen);
  ApiResult<cluster::SessionRecord> LostSession(const DeadNode& word) const;
  // Has switched off whom a machine waits for that this node would have, and records who is.
  void SeeToFences();
  bool CanFence(const std::string& node, cluster::NodeId from) const;
  std::string_view FenceOf(const Machine& machine, cluster::NodeId owner) const;
  std::string WhyNotProved(cluster::NodeId node) const;
  // Records it in etcd, and tells all.
  void SayOff(cluster::NodeId node, cluster::OffBy by, const std::string& text, const Done& done);
  std::pair<std::string_view, std::string> WhyFenced(const Machine& machine,
                                                     const std::string& from) const;
  v1::ClusterNode NodeMessage(cluster::NodeId node, const ClusterSeen& seen) const;
  void AddAlerts(v1::ClusterStatus& out) const;
  void FillMachine(const ClusterManager::MachineStatus& status, const Machine& machine,
                   v1::ClusterMachine& out) const;
  void FillObstacles(const Machine& machine, v1::Explanation& out) const;
  void Weave();
  void TakeSpecs();
  bool TakeSpec(ClusterVm vm, const etcd::Entry<etcd::MachineSpec>& entry);
  void DropSpecs();
  void WeighAll();
  ClusterSeen SeenSessions() const;  // without records
  ClusterSeen Seen() const;
  // The numbers of anti-affinity groups and of nodes, by their names.
  struct Numbers {
    std::map<std::string, std::uint32_t> groups;
    std::map<std::string, cluster::NodeId> nodes;
  };
  Numbers NumbersOfAll() const;
  WishedVm WishedOf(ClusterVm vm, const Machine& machine, const Numbers& numbers) const;
  // What keeps nodes from having a machine of that spec, whatever room they have: by node, why.
  std::map<cluster::NodeId, std::string> ObstaclesOf(const v1::VirtualMachineSpec& spec) const;
  std::string DescribeObstacles(const Machine& machine) const;
  bool NetworksChange(const Machine& machine) const;
  std::vector<cluster::NodeId> BarredOf(const v1::VirtualMachineSpec& spec) const;
  bool HasRoomForALoss(const v1::ClusterStatus& status) const;
  cluster::NodeId NumberOf(const std::string& name) const;
  std::string NameOf(cluster::NodeId node) const;
  void StopThoseThatEnded();
  void DeleteTheDeleted(const std::vector<ClusterManager::MachineStatus>& status);
  void SayWhoIAm();
  void TellPeers();
  void TellStandings(const std::vector<ClusterManager::MachineStatus>& status);
  std::optional<std::pair<std::string, std::string>> ObstacleOf(
      const ClusterManager::MachineStatus& status, const Machine& machine,
      const ClusterStanding& standing, const ClusterSeen& seen) const;
  ClusterStanding StandingOf(const ClusterManager::MachineStatus& status, const Machine& machine,
                             const ClusterSeen& seen) const;
  void OnEnd(Machine& machine, ClusterVm vm, const VmExit& exit);
  void CountEnd(Machine& machine, const VmExit& exit);

  // ---- processes that do not answer (cluster_member_heartbeat.cc)
  static void NoteHeartbeat(Machine& machine, const VmEvent& event);
  bool MayEndForSilence(const Machine& machine) const;
  static bool WasEndedForSilence(const Machine& machine);
  void EndTheSilent();
  void OnBegun(ClusterVm vm);
  void OnProcess(ClusterVm vm, const cluster::Process& process);
  std::int64_t PatienceMs(ClusterVm vm) const;
  Machine* Find(const VmUid& uid, ClusterVm* vm);

  const cluster::NodeId node_;
  const etcd::NodeInfo self_;
  const Outside outside_;
  etcd::KvStore store_;
  etcd::SpecStore specs_;
  SeenStore seen_store_;
  ClusterEvents events_;
  std::map<cluster::NodeId, bool> live_;  // as was told
  FencedMachines fenced_;
  ClusterManager manager_;
  ClusterWishes wishes_;
  std::map<ClusterVm, Machine> machines_;
  std::map<cluster::NodeId, Beat> beats_;
  std::map<std::string, ClusterPeer> told_peers_;
  bool began_ = false;
  std::uint64_t noted_ = 0;  // the generation of specs_ for which NoteGone has looked
  bool telling_ = false;     // etcd what this node is
  bool saying_off_ = false;  // etcd that a node is off
  int ticks_ = 0;
  PacedTask weave_;
  Timer timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace gemel::daemon
