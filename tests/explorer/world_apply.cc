// What each action does to a World.
#include <algorithm>
#include <functional>

#include "base/check.h"
#include "tests/explorer/world.h"

namespace gemel::explorer {

using cluster::AgentStep;
using cluster::Issuer;
using cluster::Memory;
using cluster::PeerSession;
using cluster::Process;
using cluster::StorageAnswer;
using cluster::StorageCommand;
using cluster::StorageKey;
using cluster::Txn;
using cluster::TxnReply;
using cluster::TxnResult;
using cluster::VmState;

std::string World::Apply(const Action& action) {
  Node& node = nodes_[action.node];
  broken_.clear();
  if (action.what >= Do::kCut) --faults_left_;
  if (action.what == Do::kTick) {
    Tick();
  } else if (action.what == Do::kWake) {
    node.awake = true;
    Settle(node);
  } else if (action.what == Do::kHeal) {
    Heal(node);
  } else if (action.what == Do::kSayOff || action.what == Do::kLie) {
    SayOff(node);
  } else if (action.what >= Do::kExecute && action.what <= Do::kReconnect) {
    ApplyStep(node, action);
  } else if (action.what <= Do::kDaemonCrash) {
    ApplyHostFault(node, action.what);
  } else if (action.what <= Do::kLateCall) {
    ApplyCallFault(node, action);
  } else {
    ApplyStoreFault(node, action.what);
  }
  LatchAll();
  return broken_.empty() ? Check() : broken_;
}

void World::ApplyStep(Node& node, const Action& action) {
  Slot& slot = node.slots[action.slot];
  if (action.what == Do::kExecute) {
    const TxnReply reply = Commit(slot.txn);
    slot.result = reply.result;
    slot.revision = reply.revision;
    Answer(node, action.slot);
  } else if (action.what == Do::kDeliver) {
    Answer(node, action.slot);
  } else if (action.what == Do::kOrphan) {
    Commit(node.orphan.value);
    node.orphan = {};
  } else if (action.what == Do::kView) {
    node.awake = true;
    View(node, etcd_);
  } else if (action.what == Do::kViewStale) {
    node.awake = true;
    View(node, past_.value);
  } else if (action.what == Do::kStorage) {
    const StorageAnswer answer = config_->storage == StorageKind::kMute
                                     ? MuteAnswer(node.command)
                                     : storage_.Execute(node.command);
    node.command = {};
    node.agent.OnStorage(answer, config_->rules);
    Settle(node);
  } else if (action.what == Do::kConflict) {
    node.process.state = Process::State::kConflicted;
    Settle(node);
  } else if (action.what == Do::kReconnect) {
    storage_.Register({IdOf(node), node.process.epoch});
  }
}

void World::ApplyHostFault(Node& node, Do what) {
  if (what == Do::kCut) {
    node.reach = false;
    for (Slot& slot : node.slots)
      if (!slot.answered) slot = {};
  } else if (what == Do::kHangWatch) {
    node.watch_hangs = true;
  } else if (what == Do::kFreeze) {
    node.frozen = true;
  } else if (what == Do::kStopClock) {
    node.frozen = node.clock_stopped = true;
    ghost_.storage_alone = true;
  } else if (what == Do::kStallVm) {
    node.vm_stalled = true;
  } else if (what == Do::kCrash) {
    Crash(node);
  } else {
    if (what == Do::kKeeperCrash) node.session = cluster::Session(IdOf(node));
    node.challenger.Forget();
    node.agent.Forget();
    for (Slot& slot : node.slots)
      if (what == Do::kKeeperCrash || &slot != node.slots.data()) slot = {};
    node.command = {};
    Settle(node);
  }
}

void World::ApplyCallFault(Node& node, const Action& action) {
  Slot& slot = node.slots[action.slot];
  if (action.what == Do::kLateAnswer) {
    const TxnReply reply = Commit(slot.txn);
    slot.answered = true;
    slot.result = reply.result;
    slot.revision = reply.revision;
    slot.txn = {};
    return;
  }
  if (action.what == Do::kLoseAnswer) Commit(slot.txn);
  if (action.what == Do::kLateCall) {
    node.orphan = {true, slot.txn};
  }
  slot = {};
}

void World::ApplyStoreFault(Node& node, Do what) {
  if (what == Do::kLoseStorage || what == Do::kLoseStorageAnswer) {
    if (what == Do::kLoseStorageAnswer) storage_.Execute(node.command);
    node.command = {};
    node.agent.OnStorage({}, config_->rules);
    Settle(node);
  } else if (what == Do::kCutStorage) {
    node.reach_storage = false;
    if (node.command.op != StorageCommand::Op::kNone) {
      node.command = {};
      node.agent.OnStorage({}, config_->rules);
    }
  } else if (what == Do::kRestartStorage) {
    if (config_->storage == StorageKind::kForgetful) storage_ = {};
  } else if (what == Do::kKeepPast) {
    past_ = {true, etcd_};
  } else if (what == Do::kBackup) {
    backup_ = {true, etcd_};
  } else {
    Restore(what);
  }
}

void World::SayOff(Node& node) {
  Fill(node, 1,
       node.challenger.SayOff(node.now, cluster::OffBy::kPerson, node.session.view(node.now),
                              node.memory));
}

// It is off, or had nothing under way when it ended its session: nothing that it held back can come.
void World::ForgetWritesOf(std::uint32_t id) {
  for (StorageKey& started : ghost_.started)
    if (started.node == id) started = {};
  std::sort(ghost_.started.begin(), ghost_.started.end(), std::greater<>());
}

void World::Restore(Do how) {
  const std::uint64_t incarnation = etcd_.incarnation;
  etcd_ = backup_.value;
  backup_ = {};
  past_ = {};
  for (Node& node : nodes_) {  // no member of the old cluster is left
    for (Slot& slot : node.slots)
      if (!slot.answered) slot = {};
    node.orphan = {};
  }
  ghost_.restored = true;
  if (how == Do::kRevert) {
    ghost_.storage_alone = true;
    return;
  }
  etcd_.store.value += 1;
  etcd_.incarnation = incarnation + 1;
  etcd_.incarnation_changed = etcd_.store;
}

void World::Heal(Node& node) {
  node.reach = node.reach_storage = true;
  node.frozen = node.clock_stopped = node.vm_stalled = node.watch_hangs = false;
  if (node.up) return;
  node.up = true;
  node.memory.OnRestart(node.now);
}

void World::Crash(Node& node) {
  const std::uint32_t id = IdOf(node);
  node.up = false;
  node.frozen = node.clock_stopped = node.vm_stalled = node.awake = node.watch_hangs = false;
  node.session = cluster::Session(id);
  node.challenger.Forget();
  node.agent.Forget();
  node.page = {};
  node.process = {};
  node.slots = {};
  node.command = {};
  if (config_->prove_off) ForgetWritesOf(id);
}

void World::Tick() {
  for (std::size_t i = 0; i < kNodes; ++i) {
    if (!nodes_[i].clock_stopped) nodes_[i].now.us += config_->rates[i];
    nodes_[i].awake = false;
  }
}

// A vCPU's own timer shuts the process, unless the process or its host stands still.
void World::LatchAll() {
  if (config_->no_latch) return;
  for (Node& node : nodes_) {
    if (!node.acts() || node.vm_stalled || node.process.state != Process::State::kRunning) continue;
    if (node.page.Allows(node.process.session, node.now)) continue;
    node.process.state = Process::State::kLatched;
    node.awake = false;  // the keeper hears of it
  }
}

// Everything that a node does by itself after an event.
void World::Settle(Node& node) {
  const cluster::Rules& rules = config_->rules;
  const bool quiet = node.process.state != Process::State::kRunning;
  Fill(node, 0, node.session.Run(node.now, quiet, node.memory, rules));
  if (node.session.page().session.number != 0) node.page = node.session.page();
  LatchAll();
  const cluster::SessionView view = node.session.view(node.now);
  Fill(node, 1, node.challenger.Run(node.now, view, node.memory, rules));
  for (int turn = 0; turn < 3 && Act(node); ++turn) {
  }
  DropDead(node);
}

bool World::Act(Node& node) {
  PeerSession peer{node.challenger.peer(), node.challenger.record(), node.challenger.session()};
  cluster::AgentInput input;
  input.session = node.session.view(node.now);
  if (node.challenger.known()) input.peers = {&peer, 1};
  input.process = node.process;
  input.want = cluster::Want::kRun;
  input.prove_off = config_->prove_off && !config_->ask_no_proof;
  const AgentStep step = node.agent.Run(node.now, input, node.memory, config_->rules);
  Fill(node, 2, step.txn);
  if (step.storage.op != StorageCommand::Op::kNone) node.command = step.storage;
  switch (step.process) {
    case AgentStep::ForProcess::kNothing:
      return false;
    case AgentStep::ForProcess::kStart:
    case AgentStep::ForProcess::kResume:
      Start(node, step);
      break;
    case AgentStep::ForProcess::kStop:
    case AgentStep::ForProcess::kKill:
      node.process = {};
      break;
  }
  return true;
}

void World::Start(Node& node, const AgentStep& step) {
  const std::uint32_t id = IdOf(node);
  const bool resume = step.process == AgentStep::ForProcess::kResume;
  if (resume && (node.process.state != Process::State::kLatched ||
                 ghost_.highest != node.process.epoch || ghost_.highest_node != id))
    Break("a machine was resumed though another had run in between");
  if (!resume && node.process.state != Process::State::kNone)
    Break("a second process was started on one node");
  if (ghost_.granted != step.epoch || ghost_.granted_node != id) {
    const bool late = ghost_.storage_alone && step.epoch < ghost_.granted;
    if (!late) Break("started without a committed STARTING for this node and epoch");
  }
  node.process = {Process::State::kRunning, step.session, step.epoch};
  if (step.epoch == ghost_.highest && ghost_.highest_node != id)
    Break("two nodes started the same epoch");
  if (step.epoch > ghost_.highest) {
    ghost_.highest = step.epoch;
    ghost_.highest_node = id;
  }
  const StorageKey key{id, step.epoch};
  for (StorageKey& started : ghost_.started) {
    if (started == key) return;
    if (started.node == 0) {
      started = key;
      return;
    }
  }
  CHECK(false);
}

void World::Fill(Node& node, std::size_t slot, const std::optional<Txn>& txn) {
  if (!txn) return;
  node.slots[slot] = {};
  if (!node.reach) return;  // it waits for nothing
  node.slots[slot].present = true;
  node.slots[slot].txn = *txn;
  const cluster::Outstanding* calls[] = {&node.session.call(), &node.challenger.call(),
                                         &node.agent.call()};
  node.slots[slot].id = calls[slot]->id;
}

// Calls that the core has given up: their answers find no one.
void World::DropDead(Node& node) {
  const cluster::Outstanding* calls[] = {&node.session.call(), &node.challenger.call(),
                                         &node.agent.call()};
  for (std::size_t i = 0; i < kSlots; ++i)
    if (node.slots[i].present && !calls[i]->Matches(node.slots[i].id)) node.slots[i] = {};
}

void World::Answer(Node& node, std::size_t index) {
  const Slot slot = node.slots[index];
  node.slots[index] = {};
  const TxnReply reply{slot.result, slot.revision};
  const cluster::Rules& rules = config_->rules;
  if (index == 0) node.session.OnReply(node.now, slot.id, reply, node.memory, rules);
  if (index == 1) node.challenger.OnReply(node.now, slot.id, reply, node.memory, rules);
  if (index == 2) node.agent.OnReply(node.now, slot.id, reply, node.memory, rules);
  Settle(node);
}

void World::View(Node& node, const Kv& kv) {
  const std::size_t me = IdOf(node) - 1;
  const std::size_t peer = 1 - me;
  const Memory::Verdict verdict =
      node.memory.OnView(kv.incarnation, kv.incarnation_changed, kv.store, node.now);
  if (verdict == Memory::Verdict::kNew) {
    node.session.Forget();
    node.challenger.Forget();
    node.agent.Forget();
    node.command = {};
  }
  if (verdict == Memory::Verdict::kNew || verdict == Memory::Verdict::kCurrent) {
    node.session.OnView(kv.session[me], kv.session_changed[me]);
    node.challenger.OnView(node.now, kv.session[peer], kv.session_changed[peer],
                           kv.beat_changed[peer]);
    node.agent.OnView(kv.vm, kv.vm_changed);
  }
  Settle(node);
}

// Commits, and watches what is committed: a STARTING must follow the end of all who issued before.
TxnReply World::Commit(const Txn& txn) {
  const TxnReply reply = etcd_.Apply(txn);
  if (config_->prove_off && reply.result == TxnResult::kSucceeded &&
      (txn.put == Txn::Put::kSession || txn.put == Txn::Put::kSessionAndBeat) &&
      txn.session.state != cluster::SessionState::kFenced)
    ForgetWritesOf(txn.put_id);
  if (reply.result != TxnResult::kSucceeded || txn.put != Txn::Put::kVm) return reply;
  const cluster::Ownership& vm = etcd_.vm;
  if (!MayHaveIssued(vm.state)) {
    if (vm.state == VmState::kFree) ghost_.last_issuer = {};
    return reply;
  }
  const Issuer& last = ghost_.last_issuer;
  const bool other = last.node != 0 && last.node != vm.owner;
  if (other && last.session.incarnation == etcd_.incarnation && !ghost_.restored &&
      !ProvesOver(etcd_.session[last.node - 1], last.session))
    Break("STARTING was committed without evidence that the last issuer's session is over");
  if (other && config_->prove_off && !config_->ask_no_proof &&
      !ProvesOff(etcd_.session[last.node - 1], last.session))
    Break("STARTING was committed without evidence that the last issuer's node is off");
  if (vm.state == VmState::kStarting) {
    ghost_.granted = vm.epoch;
    ghost_.granted_node = vm.owner;
  }
  ghost_.last_issuer = {vm.owner, vm.session, vm.epoch};
  return reply;
}

}  // namespace gemel::explorer
