// Two nodes with all that failover is made of but sockets, processes and disks: keepers, managers and
// their stores over one etcd in memory, in a time that the test turns. One machine, number 1.
#pragma once
#include <gtest/gtest.h>

#include <array>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "base/event_loop.h"
#include "etcd/codec.h"
#include "etcd/kv_store.h"
#include "grpc/cluster_manager.h"
#include "keeper/keeper.h"
#include "tests/explorer/storage_model.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/remote_kv.h"

namespace gemel::daemon {

inline constexpr ClusterVm kVm = 1;
inline constexpr std::int64_t kTickMs = 10;

// What happens to a node later, in the order in which it was asked for.
class LaterQueue {
 public:
  void Add(std::function<void()> event) { events_.push_back(std::move(event)); }
  bool Run() {
    if (events_.empty()) return false;
    for (auto& event : std::exchange(events_, {})) event();
    return true;
  }
  void Clear() { events_.clear(); }

 private:
  std::deque<std::function<void()>> events_;
};

class FailoverNode : private KeeperLink, ClusterMachines, ClusterDisks, keeper::MemorySaver {
 public:
  FailoverNode(cluster::NodeId id, EventLoop* loop, etcd::FakeKv* etcd, explorer::Storage* disk)
      : id_(id), loop_(loop), disk_(disk), keeper_kv_(etcd), daemon_kv_(etcd) {
    StartKeeper();
    StartDaemon();
  }
  ~FailoverNode() override = default;

  // ---- what a test does to it
  bool frozen = false;         // the host stands still, its clock goes on
  bool process_stuck = false;  // the VM's process alone
  cluster::Want want = cluster::Want::kRun;
  void Cut(bool cut) { keeper_kv_.cut = daemon_kv_.cut = cut; }
  void StartKeeper() {
    keeper_.reset();
    keeper_store_ = std::make_unique<etcd::KvStore>(
        loop_, &keeper_kv_, &clock_, etcd::KvStoreOptions{.scope = etcd::Scope::kNodes});
    keeper_ = std::make_unique<keeper::Keeper>(
        id_, remembered_,
        keeper::Keeper::Outside{keeper_store_.get(), this, [this] { return Now(); },
                                [this](cluster::Time at) { wake_ = at; },
                                [this] { later_.Add([this] { OnKeeper(); }); }});
    keeper_->Begin();
  }
  void StartDaemon() {
    manager_.reset();
    daemon_store_ =
        std::make_unique<etcd::KvStore>(loop_, &daemon_kv_, &clock_, etcd::KvStoreOptions{});
    manager_ = std::make_unique<ClusterManager>(
        id_,
        ClusterManager::Outside{daemon_store_.get(), this, this, this, [this] { return Now(); }});
    manager_->Add(kVm, process_);
    manager_->Want(kVm, want);
  }
  void Drain(bool drained) { keeper_->OnStatement(keeper::Drained{drained}); }

  // ---- what it is
  const cluster::Process& process() const { return process_; }
  const keeper::View& keeper_view() const { return *view_; }
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
    if (wake_ <= Now()) keeper_->Run();
    keeper_store_->Check();
    daemon_store_->Check();
    if (++ticks_ % 10 == 0) manager_->Run();
  }
  // What is under way arrives. Whether anything was.
  bool Deliver() {
    if (frozen) return false;
    bool any = keeper_kv_.Deliver();
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
  void OnKeeper() {
    view_ = keeper_->view();
    page_fd_ = keeper_->page() != nullptr ? keeper_->page()->OpenForReader().value() : UniqueFd();
    page_ = page_fd_ ? cluster::PageReader::Map(page_fd_).value() : cluster::PageReader();
    manager_->Run();
  }

  // KeeperLink
  const keeper::View* view() const override { return view_ ? &*view_ : nullptr; }
  cluster::DeadlinePage page() const override { return page_.Read(); }
  Result<UniqueFd> OpenPage() const override { return UniqueFd(dup(page_fd_.get())); }
  void Say(const keeper::Statement& statement) override {
    later_.Add([this, statement] { keeper_->OnStatement(statement); });
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
  // keeper::MemorySaver
  void Save(const keeper::MemoryState& state, std::function<void()> durable) override {
    remembered_ = state;
    if (durable) later_.Add(std::move(durable));
  }

  cluster::NodeId id_;
  EventLoop* loop_;
  explorer::Storage* disk_;
  testing::FakeClock clock_;
  LaterQueue later_;
  etcd::RemoteKv keeper_kv_;
  etcd::RemoteKv daemon_kv_;
  keeper::MemoryState remembered_;
  std::optional<keeper::View> view_;
  UniqueFd page_fd_;
  cluster::PageReader page_;
  cluster::Time wake_{1};
  cluster::Process process_;
  cluster::PageReader guest_page_;
  int starts_ = 0;
  int ticks_ = 0;
  std::unique_ptr<etcd::KvStore> keeper_store_;
  std::unique_ptr<keeper::Keeper> keeper_;
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
