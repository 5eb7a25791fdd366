#include "tests/explorer/world.h"

#include <fmt/format.h>

#include "base/check.h"

namespace gemel::explorer {

using cluster::Process;
using cluster::StorageCommand;
using cluster::StorageKey;

namespace {

constexpr std::array<std::string_view, static_cast<std::size_t>(Do::kCount)> kNames{
    "tick",
    "wake",
    "execute call",
    "deliver late answer",
    "commit given-up call",
    "view",
    "stale view",
    "storage command",
    "write refused",
    "reconnect and register",
    "heal",
    "say that the other is off, as it is",
    "CUT",
    "HANG WATCH",
    "FREEZE",
    "STOP CLOCK",
    "STALL VM",
    "CRASH",
    "KEEPER CRASH",
    "DAEMON CRASH",
    "LOSE CALL",
    "LOSE ANSWER",
    "LATE ANSWER",
    "LATE CALL",
    "LOSE STORAGE COMMAND",
    "LOSE STORAGE ANSWER",
    "CUT STORAGE",
    "RESTART STORAGE",
    "KEEP PAST",
    "BACKUP",
    "RESTORE",
    "REVERT",
    "SAY THAT THE OTHER IS OFF, AS IT IS NOT"};

constexpr std::array<std::string_view, kSlots> kSlotNames{"session", "challenger", "agent"};

}  // namespace

std::string_view Name(Do what) { return kNames[static_cast<std::size_t>(what)]; }

std::string Text(const Action& action) {
  if (action.what == Do::kTick || action.what == Do::kKeepPast || action.what == Do::kBackup ||
      action.what == Do::kRestore || action.what == Do::kRevert ||
      action.what == Do::kRestartStorage)
    return std::string(Name(action.what));
  const bool call = action.what == Do::kExecute || action.what == Do::kDeliver ||
                    (action.what >= Do::kLoseCall && action.what <= Do::kLateCall);
  return fmt::format("{}: {}{}", "AB"[action.node], Name(action.what),
                     call ? fmt::format(" ({})", kSlotNames[action.slot]) : "");
}

World::World(const Config& config) : config_(&config) {
  etcd_.store = {2};
  etcd_.incarnation_changed = {1};
  etcd_.vm.epoch = {1, 0};
  etcd_.vm_changed = {2};
  for (std::size_t i = 0; i < kNodes; ++i) {
    const auto id = static_cast<std::uint32_t>(i + 1);
    nodes_[i].session = cluster::Session(id);
    nodes_[i].challenger = cluster::Challenger(3 - id);
    nodes_[i].agent = cluster::VmAgent(id, 1);
  }
  if (config.running) {
    nodes_[1].up = false;
    for (int i = 0; i < 4; ++i) Break(RunOneTick());
    nodes_[1].up = true;
    for (int i = 0; i < 4; ++i) Break(RunOneTick());
    CHECK(Serves() && nodes_[0].process.state == Process::State::kRunning);
  }
  faults_left_ = config.faults;
}

// What can happen next.

std::vector<Action> World::Possible() const {
  std::vector<Action> out;
  if (!config_->fine && AddCalls(&out)) return out;
  for (std::uint8_t i = 0; i < kNodes; ++i) {
    AddNodeActions(i, &out);
    if (faults_left_ > 0) AddFaults(i, &out);
  }
  if (MayTick()) out.push_back({Do::kTick, 0, 0});
  if (faults_left_ == 0) return out;
  const auto add = [&](Do what) {
    if (config_->allowed & Bit(what)) out.push_back({what, 0, 0});
  };
  if (!past_.present) add(Do::kKeepPast);
  if (!backup_.present && !ghost_.restored) add(Do::kBackup);
  if (backup_.present) {
    add(Do::kRestore);
    add(Do::kRevert);
  }
  add(Do::kRestartStorage);
  return out;
}

// A node's calls of one moment are committed, or lost, before anything else happens: a commit of
// another node between sending and committing is as if the sender had waited (its request was made
// of what it knew, which the other's commit does not change).
bool World::AddCalls(std::vector<Action>* out) const {
  for (std::uint8_t i = 0; i < kNodes; ++i) {
    const Node& node = nodes_[i];
    if (!node.acts() || !node.reach) continue;
    for (std::uint8_t slot = 0; slot < kSlots; ++slot) {
      if (!node.slots[slot].present || node.slots[slot].answered) continue;
      out->push_back({Do::kExecute, i, slot});
      if (faults_left_ > 0) AddCallFaults(i, slot, out);
      return true;
    }
  }
  return false;
}

void World::AddCallFaults(std::uint8_t index, std::uint8_t slot, std::vector<Action>* out) const {
  for (const Do what : {Do::kLoseCall, Do::kLoseAnswer, Do::kLateAnswer, Do::kLateCall}) {
    if (what == Do::kLateCall && nodes_[index].orphan.present) continue;
    if (config_->allowed & Bit(what)) out->push_back({what, index, slot});
  }
}

void World::AddNodeActions(std::uint8_t index, std::vector<Action>* out) const {
  const Node& node = nodes_[index];
  const auto add = [&](Do what, std::size_t slot = 0) {
    out->push_back({what, index, static_cast<std::uint8_t>(slot)});
  };
  if (node.orphan.present) add(Do::kOrphan);
  if (!node.up || node.frozen || node.clock_stopped || node.vm_stalled || !node.reach ||
      !node.reach_storage || node.watch_hangs)
    add(Do::kHeal);
  if (!node.acts()) return;
  if (MaySayOff(index, Do::kSayOff)) add(Do::kSayOff);
  const bool sees = node.reach && !node.watch_hangs;
  if (!node.awake && (!sees || config_->fine)) add(Do::kWake);
  for (std::size_t slot = 0; slot < kSlots; ++slot) {
    if (!node.slots[slot].present) continue;
    if (node.slots[slot].answered) {
      add(Do::kDeliver, slot);
    } else if (node.reach) {
      add(Do::kExecute, slot);
    }
  }
  const bool may_look = config_->fine || !node.awake;
  if (sees && may_look) add(Do::kView);
  if (past_.present && may_look) add(Do::kViewStale);
  if (node.command.op != StorageCommand::Op::kNone && node.reach_storage) add(Do::kStorage);
  const StorageKey nexus{index + 1U, node.process.epoch};
  if (Issues(node) && node.reach_storage && !storage_.Accepts(config_->storage, nexus))
    add(Do::kConflict);
  if (config_->register_on_reconnect && node.process.epoch.counter > 0 && node.reach_storage &&
      !storage_.Has(nexus))
    add(Do::kReconnect);
}

void World::AddFaults(std::uint8_t index, std::vector<Action>* out) const {
  const Node& node = nodes_[index];
  const auto add = [&](Do what, bool possible) {
    if (possible && (config_->allowed & Bit(what))) out->push_back({what, index, 0});
  };
  add(Do::kCut, node.up && node.reach);
  add(Do::kHangWatch, node.up && !node.watch_hangs);
  add(Do::kFreeze, node.acts());
  add(Do::kStopClock, node.acts());
  add(Do::kStallVm, node.up && !node.vm_stalled && node.process.state == Process::State::kRunning);
  add(Do::kCrash, node.up);
  add(Do::kKeeperCrash, node.acts());
  add(Do::kDaemonCrash, node.acts());
  add(Do::kCutStorage, node.up && node.reach_storage);
  if (!node.acts()) return;
  add(Do::kLie, MaySayOff(index, Do::kLie));
  for (std::uint8_t slot = 0; slot < kSlots; ++slot)
    if (node.slots[slot].present && !node.slots[slot].answered && node.reach)
      AddCallFaults(index, slot, out);
  const bool command = node.command.op != StorageCommand::Op::kNone && node.reach_storage;
  add(Do::kLoseStorage, command);
  add(Do::kLoseStorageAnswer, command && node.command.op != StorageCommand::Op::kRead);
}

// Once it is known to be fenced: before, nobody is let say so. Who has looked since the last tick does.
bool World::MaySayOff(std::uint8_t index, Do what) const {
  const Node& node = nodes_[index];
  const bool off = !nodes_[1U - index].up;
  const cluster::SessionRecord& record = node.challenger.record();
  return config_->prove_off && off == (what == Do::kSayOff) && node.acts() && node.reach &&
         node.awake && !node.slots[1].present && record.state == cluster::SessionState::kFenced &&
         record.off == cluster::OffBy::kNobody && node.session.view(node.now).live;
}

bool World::MayTick() const {
  for (const Node& node : nodes_) {
    if (!node.acts()) continue;
    if (!node.awake) return false;
    if (node.command.op != StorageCommand::Op::kNone && node.reach_storage) return false;
    for (const Slot& slot : node.slots)
      if (slot.present && !slot.answered && node.reach) return false;
  }
  return true;
}

}  // namespace gemel::explorer
