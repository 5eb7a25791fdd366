// Two nodes' cores, etcd, a disk, one machine, and everything that can happen to them next.
//
// What is abstract, and what is not:
// * Time is ticks of true time. A tick moves each node's clock by that node's own rate (9, 10 or 11),
//   and waits are in the same unit, so conditions are compared exactly; but what happens, happens at
//   a tick. Between two ticks all that is ready happens, in every order. A host that does not run for
//   a while is kFreeze (its clock goes on) or kStopClock (it does not, and the host cannot know).
// * A node that runs acts in each tick and its calls are committed and answered in that tick, unless
//   a fault says otherwise (a hanging watch, a late answer).
// * etcd is linearizable for transactions. A node reaches a majority, or not: the links and members
//   that make it so are enumerated in tests/unit/cluster. A stale member shows an earlier whole state.
// * A write is not an event. Of every epoch that ever ran, a write is held back somewhere for ever;
//   what would become of it is asked in each state. So a held request and one between check and
//   submission are always there. Where no disk refuses, those of a node end with its power, and
//   with the session that it ends by itself.
// * Faults are limited in number, not in place; healing costs nothing and is never forced.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include "cluster/challenger.h"
#include "cluster/memory.h"
#include "cluster/session.h"
#include "cluster/vm_agent.h"
#include "tests/explorer/etcd_model.h"
#include "tests/explorer/storage_model.h"

namespace gemel::explorer {

enum class Do : std::uint8_t {
  // Costs nothing.
  kTick,
  kWake,       // a node acts, and sees nothing new
  kExecute,    // etcd commits a call and answers
  kDeliver,    // an answer that was late arrives
  kOrphan,     // etcd commits a call that its sender has given up
  kView,       // a node acts, its watch shows the present
  kViewStale,  // the same, a stale member shows the past
  kStorage,    // the disk executes a command and answers
  kConflict,   // a write of the running machine is refused, and noticed
  kReconnect,  // (mutation) an initiator reconnects, and registers
  kHeal,       // the network, the storage network, the freeze, the crash: of one node
  kSayOff,     // a person or an agent has seen that the other node is off, and it is
  // A fault each.
  kCut,          // no majority of etcd within reach
  kHangWatch,    // it sees nothing new
  kFreeze,       // the host stands still, its clock goes on
  kStopClock,    // the host stands still, and its clock
  kStallVm,      // the VM process alone stands still
  kCrash,        // the host is off
  kKeeperCrash,  // session and page's writer die; VM processes stay
  kDaemonCrash,  // challenger and agent begin anew
  kLoseCall,     // a call never reaches etcd
  kLoseAnswer,   // it is committed, the answer is lost
  kLateAnswer,   // it is committed, the answer comes later
  kLateCall,     // it is given up, and committed later
  kLoseStorage,  // a command to the disk is lost
  kLoseStorageAnswer,
  kCutStorage,
  kRestartStorage,
  kKeepPast,  // a member falls behind here
  kBackup,    // a backup is made here
  kRestore,   // etcd is restored from it, by the book: the incarnation is raised
  kRevert,    // etcd's disks are reverted to it: nothing is raised
  kLie,       // somebody says that the other node is off, and it is not
  kCount,
};
std::string_view Name(Do what);

struct Action {
  Do what = Do::kTick;
  std::uint8_t node = 0;
  std::uint8_t slot = 0;
};
std::string Text(const Action& action);

struct Config {
  std::string name;
  cluster::Rules rules{{{5}, {10}, {30}, {40}, {3}}, {}};
  std::array<std::int64_t, kNodes> rates{10, 10};
  StorageKind storage = StorageKind::kExclusive;
  std::uint8_t faults = 2;
  std::uint64_t allowed = 0;           // bits of Do; the faults that may happen
  bool running = true;                 // begin with A running the machine; else with two cold nodes
  bool no_latch = false;               // mutation: the VM process does not look at the page
  bool register_on_reconnect = false;  // mutation
  // Views at every moment or not at all, and calls of both nodes in flight at once, without a fault.
  bool fine = false;
  bool only_storage_counts = false;  // to see what the disk alone catches
  // The disk refuses nobody, and all know it: who had the machine must be proved off.
  bool prove_off = false;
  bool ask_no_proof = false;  // mutation: it refuses nobody, and is taken over as others are
  bool check_liveness = true;
  std::uint64_t max_states = 0;  // 0: until all are known
};

constexpr std::uint64_t Bit(Do what) { return std::uint64_t{1} << static_cast<unsigned>(what); }

struct Slot {
  bool present = false;
  bool answered = false;
  cluster::TxnResult result = cluster::TxnResult::kUnknown;
  cluster::Revision revision;
  cluster::RequestId id;
  cluster::Txn txn;
  auto fields_if_present() { return std::tie(answered, result, revision, id, txn); }
};

template <class T>
struct Maybe {
  bool present = false;
  T value{};
  auto fields_if_present() { return std::tie(value); }
};

inline constexpr std::size_t kSlots = 3;  // session, challenger, agent

struct Node {
  cluster::Time now;
  bool up = true;
  bool frozen = false;
  bool clock_stopped = false;
  bool vm_stalled = false;
  bool reach = true;          // a majority of etcd
  bool reach_storage = true;  // the disk
  bool watch_hangs = false;
  bool awake = false;  // has acted since the last tick
  cluster::Memory memory;
  cluster::Session session;
  cluster::Challenger challenger;
  cluster::VmAgent agent;
  cluster::DeadlinePage page;  // as VM processes have it
  cluster::Process process;
  std::array<Slot, kSlots> slots;
  Maybe<cluster::Txn> orphan;  // given up, but it may still be committed
  cluster::StorageCommand command;
  auto fields() {
    return std::tie(now, up, frozen, clock_stopped, vm_stalled, reach, reach_storage, watch_hangs,
                    awake, memory, session, challenger, agent, page, process, slots, orphan,
                    command);
  }
  bool acts() const { return up && !frozen; }
};

// What only the observer knows.
struct Ghost {
  cluster::Epoch highest;  // started, by anybody
  std::uint32_t highest_node = 0;
  cluster::Issuer last_issuer;  // as committed
  cluster::Epoch granted;       // the last committed STARTING, and whose
  std::uint32_t granted_node = 0;
  std::array<cluster::StorageKey, 8> started;
  bool storage_alone = false;  // a clock stood still, or etcd forgot: only the disk can protect now
  bool restored = false;
  auto fields() {
    return std::tie(highest, highest_node, last_issuer, granted, granted_node, started,
                    storage_alone, restored);
  }
};

class World {
 public:
  explicit World(const Config& config);

  std::vector<Action> Possible() const;
  // What was broken by doing it, or by the state it leads to; empty if nothing.
  std::string Apply(const Action& action);
  std::string Describe() const;

  // A machine that runs, may issue, is accepted, and is what etcd says.
  bool Serves() const;
  // The end that some stops must have: etcd went back, and a person must look.
  bool RightlyAlarmed() const;
  // Which nodes may live on: heals those, and stops the others for good by `how` (kCrash, kCut).
  void HealFor(std::uint8_t survivors, Do how);
  // All that is ready, in a fixed order, then a tick.
  std::string RunOneTick();

  std::string Save();
  // Into a World that is as its constructor left it, cold.
  void Load(const std::string& bytes, const Config& config);

 private:
  template <class Visitor>
  void WalkAll(Visitor& visitor);
  void AddNodeActions(std::uint8_t index, std::vector<Action>* out) const;
  bool AddCalls(std::vector<Action>* out) const;
  void AddCallFaults(std::uint8_t index, std::uint8_t slot, std::vector<Action>* out) const;
  void AddFaults(std::uint8_t index, std::vector<Action>* out) const;
  bool MayTick() const;
  bool Issues(const Node& node) const;
  std::uint32_t IdOf(const Node& node) const {
    return static_cast<std::uint32_t>(&node - nodes_.data()) + 1;
  }
  void ApplyStep(Node& node, const Action& action);
  void ApplyHostFault(Node& node, Do what);
  void ApplyCallFault(Node& node, const Action& action);
  void ApplyStoreFault(Node& node, Do what);
  bool MaySayOff(std::uint8_t index, Do what) const;
  void SayOff(Node& node);
  void ForgetWritesOf(std::uint32_t id);
  void Restore(Do how);
  void Heal(Node& node);
  void Crash(Node& node);
  void Tick();
  void LatchAll();
  void Settle(Node& node);
  bool Act(Node& node);  // whether the process changed
  void Start(Node& node, const cluster::AgentStep& step);
  void Fill(Node& node, std::size_t slot, const std::optional<cluster::Txn>& txn);
  void DropDead(Node& node);
  void Answer(Node& node, std::size_t index);
  void View(Node& node, const Kv& kv);
  cluster::TxnReply Commit(const cluster::Txn& txn);
  std::string Check() const;
  void Break(const std::string& what) {
    if (broken_.empty()) broken_ = what;
  }

  const Config* config_;
  Kv etcd_;
  Maybe<Kv> past_;
  Maybe<Kv> backup_;
  Storage storage_;
  std::array<Node, kNodes> nodes_;
  Ghost ghost_;
  std::uint8_t faults_left_ = 0;
  std::string broken_;
};

}  // namespace gemel::explorer
