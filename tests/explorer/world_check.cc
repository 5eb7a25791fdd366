// What must hold in each state of a World, how it is written down, and how it is run to its end.
#include <fmt/format.h>

#include <iterator>

#include "tests/explorer/canonical.h"
#include "tests/explorer/world.h"

namespace gemel::explorer {

using cluster::Process;
using cluster::StorageCommand;
using cluster::StorageKey;
using cluster::VmState;

// Whether its VM process, asked at this moment, would submit a write.
bool World::Issues(const Node& node) const {
  if (!node.acts() || node.vm_stalled || node.process.state != Process::State::kRunning)
    return false;
  return config_->no_latch || node.page.Allows(node.process.session, node.now);
}

std::string World::Check() const {
  // Who was proved off does not come back because its clock had stood still.
  const bool issuers = !ghost_.storage_alone || config_->prove_off;
  if (issuers && !config_->only_storage_counts) {
    if (Issues(nodes_[0]) && Issues(nodes_[1])) return "both nodes may issue writes at once";
    for (const Node& node : nodes_)
      if (Issues(node) && node.process.epoch < ghost_.highest)
        return fmt::format("{} may still issue writes of epoch {}, but {} has started",
                           "AB"[IdOf(node) - 1], node.process.epoch.counter,
                           ghost_.highest.counter);
  }
  if (config_->storage == StorageKind::kAccepting) return {};
  for (const StorageKey& key : ghost_.started)
    if (key.node != 0 && key.epoch < ghost_.highest && storage_.Accepts(config_->storage, key) &&
        // Its own process of before is gone, or it is the same one.
        !(config_->prove_off && key.node == ghost_.highest_node))
      return fmt::format("storage accepts a held write of {}'s epoch {}, but {} has started",
                         "AB"[key.node - 1], key.epoch.counter, ghost_.highest.counter);
  return {};
}

bool World::Serves() const {
  for (const Node& node : nodes_) {
    const StorageKey key{IdOf(node), node.process.epoch};
    if (Issues(node) && storage_.Accepts(config_->storage, key) &&
        etcd_.vm.state == VmState::kRunning && etcd_.vm.owner == key.node &&
        etcd_.vm.epoch == key.epoch && node.reach && node.reach_storage)
      return true;
  }
  return false;
}

bool World::RightlyAlarmed() const {
  if (!ghost_.restored) return false;
  for (const Node& node : nodes_)
    if (node.memory.alarmed() || node.agent.refused()) return true;
  return false;
}

void World::HealFor(std::uint8_t survivors, Do how) {
  faults_left_ = 0;
  for (std::size_t i = 0; i < kNodes; ++i) {
    if (survivors & 1U << i) {
      Heal(nodes_[i]);
    } else if (how == Do::kCrash) {
      Crash(nodes_[i]);
    } else {
      ApplyHostFault(nodes_[i], Do::kCut);
    }
  }
}

std::string World::RunOneTick() {
  for (int guard = 0; guard < 200; ++guard) {
    const std::string before = Save();
    for (std::uint8_t i = 0; i < kNodes; ++i) {
      for (const Do what : {Do::kView, Do::kWake, Do::kExecute, Do::kDeliver, Do::kStorage,
                            Do::kConflict, Do::kOrphan, Do::kSayOff})
        for (const Action& action : Possible()) {
          if (action.node != i || action.what != what) continue;
          if (std::string broken = Apply(action); !broken.empty()) return broken;
          break;
        }
    }
    if (Save() == before) break;
  }
  return Apply({Do::kTick, 0, 0});
}

template <class Visitor>
void World::WalkAll(Visitor& visitor) {
  Walk(visitor, etcd_);
  Walk(visitor, past_);
  Walk(visitor, backup_);
  Walk(visitor, storage_);
  Walk(visitor, ghost_);
  Walk(visitor, faults_left_);
  for (Node& node : nodes_) {
    visitor.SetClock(node.now);
    Walk(visitor, node);
  }
}

std::string World::Save() {
  RevisionRanks ranks;
  WalkAll(ranks);
  Writer writer(ranks);
  WalkAll(writer);
  return writer.bytes();
}

void World::Load(const std::string& bytes, const Config& config) {
  config_ = &config;
  Reader reader(bytes);
  WalkAll(reader);
}

std::string World::Describe() const {
  constexpr std::array kStates{"FREE", "FENCING", "STARTING", "RUNNING", "MOVING"};
  constexpr std::array kProcess{"-", "running", "latched", "refused"};
  std::string out =
      fmt::format("etcd {} owner {} epoch {}.{}", kStates[static_cast<std::size_t>(etcd_.vm.state)],
                  "-AB"[etcd_.vm.owner], etcd_.vm.epoch.incarnation, etcd_.vm.epoch.counter);
  out += fmt::format("; disk {}{}", "-AB"[storage_.holder.node], storage_.holder.epoch.counter);
  for (const Node& node : nodes_) {
    const auto index = IdOf(node) - 1;
    out += fmt::format(
        "; {}{}{}{} session {}{}{} vm {}", "AB"[index], node.up ? "" : " off",
        node.frozen ? " frozen" : "", node.reach ? "" : " cut", node.page.session.number,
        etcd_.session[index].state == cluster::SessionState::kFenced ? " FENCED" : "",
        node.page.Allows(node.page.session, node.now)
            ? fmt::format(" for {}", (node.page.deadline - node.now).us)
            : " over",
        kProcess[static_cast<std::size_t>(node.process.state)]);
    if (node.process.state != Process::State::kNone)
      out += fmt::format(" epoch {}", node.process.epoch.counter);
  }
  return out;
}

}  // namespace gemel::explorer
