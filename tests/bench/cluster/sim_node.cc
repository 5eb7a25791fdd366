#include "tests/bench/cluster/sim_node.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "cluster/page/page_memory.h"

namespace gemel::daemon {
namespace {

using cluster::Process;
using cluster::SessionState;

constexpr std::int64_t kTickMs = 100;

}  // namespace

void SimNode::CountingStore::Commit(const cluster::Txn& txn, Done done) {
  ++node_->counts.commits;
  below_->Commit(txn, [this, done = std::move(done)](const cluster::TxnReply& reply) {
    if (reply.result == cluster::TxnResult::kRefused) ++node_->counts.refused;
    if (reply.result == cluster::TxnResult::kUnknown) ++node_->counts.unknown;
    done(reply);
  });
}

void SimNode::CountingStore::Watch(OnView on_view) {
  below_->Watch(
      [this, on_view = std::move(on_view)](const etcd::View& seen, const etcd::ViewChange& change) {
        view = &seen;
        on_view(seen, change);
        if (change.only_beats()) return;
        node_->seen_ = true;
        node_->world_->weigh_soon();
      });
}

SimNode::SimNode(cluster::NodeId id, const std::vector<std::string>& endpoints,
                 const std::string& keeper_socket, SimWorld* world)
    : id_(id),
      world_(world),
      kv_(etcd::CreateGrpcKv(world->loop, {endpoints, {}, {}, {}}).value()),
      below_(world->loop, kv_.get(), world->clock, {}),
      store_(this, &below_),
      keeper_(world->loop, keeper_socket, [this] { manager_.Run(); }),
      manager_(id, {&store_, &keeper_, this, this, cluster::BootTime}),
      wishes_(id) {
  below_.Listen(
      {[](const etcd::KvSnapshot&) {},
       [this](const std::vector<etcd::KeyEvent>& events) { world_->on_heard(id_, events); }});
  Tick();
}

void SimNode::Tick() {
  manager_.Run();
  for (auto& [vm, process] : processes_) {
    const bool over = !keeper_.page().Allows(process.session, cluster::BootTime());
    if (process.state != Process::State::kRunning || !over) continue;
    process.state = Process::State::kLatched;
    Show(vm, Process(process));
  }
  CHECK(timer_.Start(world_->loop, kTickMs, [this] { Tick(); }));
}

bool SimNode::WeighIfSeen() {
  if (!std::exchange(seen_, false)) return false;
  Weigh();
  return true;
}

void SimNode::Weigh() {
  if (!manager_.shown() || world_->vms.empty()) return;
  const cluster::Time began = cluster::BootTime();
  ClusterSeen seen;
  for (const ClusterManager::PeerStatus& peer : manager_.peers()) {
    seen.sessions[peer.node] = peer.record;
    seen.session_changes[peer.node] = peer.changed;
  }
  if (const keeper::View* const keeper = keeper_.view(); keeper != nullptr)
    seen.sessions[id_] = {keeper->session,
                          keeper->opened.value != 0 ? SessionState::kOpen : SessionState::kClosed};
  for (const ClusterManager::MachineStatus& machine : manager_.machines()) {
    seen.records[machine.vm] = machine.record;
    seen.record_changes[machine.vm] = machine.changed;
  }
  const std::vector<Wish> wishes = wishes_.Weigh(began, world_->nodes, world_->vms, seen);
  const std::int64_t took_us = (cluster::BootTime() - began).us;
  ++counts.weighs;
  counts.weigh_us += took_us;
  counts.longest_weigh_us = std::max(counts.longest_weigh_us, took_us);
  for (const Wish& wish : wishes) {
    Wish& before = wished_[wish.vm];
    const bool news = before.want != wish.want || before.to != wish.to;
    before = wish;
    if (news) manager_.Want(wish.vm, wish.want, wish.to);
  }
}

void SimNode::Run(ClusterVm vm, const Grant& grant) {
  Show(vm, {Process::State::kRunning, grant.session, grant.epoch});
}

void SimNode::Show(ClusterVm vm, const Process& process) {
  processes_[vm] = process;
  world_->loop->Post([this, alive = std::weak_ptr(alive_), vm, process] {
    if (!alive.expired()) manager_.OnProcess(vm, process);
  });
}

void SimNode::Execute(ClusterVm vm, const cluster::StorageCommand& command, Done done) {
  const cluster::StorageAnswer answer = world_->disks[vm].Execute(command);
  world_->loop->Post([alive = std::weak_ptr(alive_), done = std::move(done), answer] {
    if (!alive.expired()) done(answer);
  });
}

std::size_t SimNode::live_peers() const {
  const std::vector<ClusterManager::PeerStatus> peers = manager_.peers();
  return static_cast<std::size_t>(std::ranges::count_if(peers, [](const auto& peer) {
    return peer.record.id.number != 0 && peer.record.state == SessionState::kOpen;
  }));
}

std::size_t SimNode::running() const {
  if (store_.view == nullptr) return 0;
  return static_cast<std::size_t>(std::ranges::count_if(store_.view->vms(), [](const auto& one) {
    return one.second.value.state == cluster::VmState::kRunning;
  }));
}

}  // namespace gemel::daemon
