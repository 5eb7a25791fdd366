// Two nodes with all that failover is made of but sockets, processes and disks: keepers, managers and
// their stores over one etcd in memory, in a time that the test turns. One machine, number 1.
#pragma once
#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "base/event_loop.h"
#include "etcd/codec.h"
#include "etcd/kv_store.h"
#include "grpc/cluster_manager.h"
#include "tests/explorer/storage_model.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/remote_kv.h"
#include "tests/unit/grpc/local_keeper.h"

namespace gemel::daemon {

inline constexpr ClusterVm kVm = 1;
inline constexpr std::int64_t kTickMs = 10;

class FailoverNode : private ClusterMachines, ClusterDisks {
 public:
  FailoverNode(cluster::NodeId id, EventLoop* loop, etcd::FakeKv* etcd, explorer::Storage* disk)
      : id_(id),
        loop_(loop),
        disk_(disk),
        keeper_(id, loop, etcd, &clock_, &later_, [this] { manager_->Run(); }),
        daemon_kv_(etcd) {
    StartKeeper();
    StartDaemon();
  }
  ~FailoverNode() override = default;

  // ---- what a test does to it
  bool frozen = false;         // the host stands still, its clock goes on
  bool process_stuck = false;  // the VM's process alone
  cluster::Want want = cluster::Want::kRun;
  void Cut(bool cut) {
    keeper_.Cut(cut);
    daemon_kv_.cut = cut;
  }
  void StartKeeper() { keeper_.Start(); }
  void StartDaemon() {
    manager_.reset();
    daemon_store_ =
        std::make_unique<etcd::KvStore>(loop_, &daemon_kv_, &clock_, etcd::KvStoreOptions{});
    manager_ = std::make_unique<ClusterManager>(
        id_, ClusterManager::Outside{daemon_store_.get(), &keeper_, this, this,
                                     [this] { return Now(); }});
    manager_->Add(kVm, process_);
    manager_->Want(kVm, want);
  }
  void Drain(bool drained) { keeper_.Drain(drained); }

  // ---- what it is
  const cluster::Process& process() const { return process_; }
  const keeper::View& keeper_view() const { return *keeper_.view(); }
  ClusterManager& manager() { return *manager_; }
  int starts() const { return starts_; }
  bool Issues() const {
    return process_.state == cluster::Process::State::kRunning &&
           guest_page_.Read().Allows(process_.session, Now());
  }
  bool Writes() const {
    return Issues() && disk_->Accepts(explorer::StorageKind::kExclusive, {id_, process_.epoch});
  }

  void Tick() {
    clock_.Advance(kTickMs * 1'000'000);
    if (frozen) return;
    if (!process_stuck) CheckLatch();
    keeper_.Tick();
    daemon_store_->Check();
    if (++ticks_ % 10 == 0) manager_->Run();
  }
  // What is under way arrives. Whether anything was.
  bool Deliver() {
    if (frozen) return false;
    bool any = keeper_.Deliver();
    any = daemon_kv_.Deliver() || any;
    return later_.Run() || any;
  }

 private:
  cluster::Time Now() const { return {clock_.monotonic_ns / 1000}; }
  void CheckLatch() {
    if (process_.state != cluster::Process::State::kRunning || Issues()) return;
    process_.state = cluster::Process::State::kLatched;
    later_.Add([this] { manager_->OnProcess(kVm, process_); });
  }

  // ClusterMachines
  void Run(Grant grant) {
    guest_page_ = cluster::PageReader::Map(grant.page).value();
    process_ = {cluster::Process::State::kRunning, grant.session, grant.epoch};
    later_.Add([this] { manager_->OnProcess(kVm, process_); });
  }
  void Start(ClusterVm /*vm*/, Grant grant) override {
    EXPECT_EQ(process_.state, cluster::Process::State::kNone);
    ++starts_;
    Run(std::move(grant));
  }
  void Resume(ClusterVm /*vm*/, Grant grant) override {
    EXPECT_EQ(process_.state, cluster::Process::State::kLatched);
    Run(std::move(grant));
  }
  void Stop(ClusterVm vm) override { Kill(vm); }
  void Kill(ClusterVm /*vm*/) override {
    later_.Add([this] {
      process_ = {};
      process_stuck = false;
      manager_->OnProcess(kVm, process_);
    });
  }
  // ClusterDisks
  void Execute(ClusterVm /*vm*/, const cluster::StorageCommand& command, Done done) override {
    later_.Add([this, command, done = std::move(done)] { done(disk_->Execute(command)); });
  }

  cluster::NodeId id_;
  EventLoop* loop_;
  explorer::Storage* disk_;
  testing::FakeClock clock_;
  LaterQueue later_;
  LocalKeeper keeper_;
  etcd::RemoteKv daemon_kv_;
  cluster::Process process_;
  cluster::PageReader guest_page_;
  int starts_ = 0;
  int ticks_ = 0;
  std::unique_ptr<etcd::KvStore> daemon_store_;
  std::unique_ptr<ClusterManager> manager_;
};

struct FailoverPair : ::testing::Test {
  FailoverPair() : loop(EventLoop::Create().value()) {
    etcd.Put("/gemel/nodes/incarnation", etcd::EncodeIncarnation(1));
    a = std::make_unique<FailoverNode>(1, loop.get(), &etcd, &disk);
    b = std::make_unique<FailoverNode>(2, loop.get(), &etcd, &disk);
  }
  void Tick() {
    for (FailoverNode* node : {a.get(), b.get()}) node->Tick();
    bool more = true;
    for (int turn = 0; more && turn < 100; ++turn) {
      const bool at_a = a->Deliver();
      more = b->Deliver() || at_a;
    }
    EXPECT_FALSE(more) << "it never comes to rest";
    EXPECT_FALSE(a->Issues() && b->Issues()) << "two nodes may issue";
    now_ms += kTickMs;
  }
  void After(std::int64_t ms) {
    for (const std::int64_t end = now_ms + ms; now_ms < end;) Tick();
  }
  // How long it took, or nullopt if it did not come true in a minute.
  std::optional<std::int64_t> Until(const std::function<bool()>& wanted) {
    const std::int64_t begin = now_ms;
    while (!wanted()) {
      if (now_ms - begin > 60'000) return std::nullopt;
      Tick();
    }
    return now_ms - begin;
  }
  cluster::Ownership Record() const {
    const auto found = etcd.keys.find("/gemel/vms/1");
    return found == etcd.keys.end() ? cluster::Ownership{}
                                    : etcd::DecodeOwnership(found->second.value).value();
  }

  std::unique_ptr<EventLoop> loop;
  etcd::FakeKv etcd;
  explorer::Storage disk;
  std::unique_ptr<FailoverNode> a;
  std::unique_ptr<FailoverNode> b;
  std::int64_t now_ms = 0;
};

}  // namespace gemel::daemon
