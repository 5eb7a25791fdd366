// A keeper of a node in a test: the real one over an etcd in memory, and what a gemeld of that node sees
// of it, without a socket. Time and deliveries are the test's.
#pragma once
#include <unistd.h>

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "base/event_loop.h"
#include "etcd/kv_store.h"
#include "grpc/keeper_link.h"
#include "keeper/keeper.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/remote_kv.h"

namespace gemel::daemon {

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

class LocalKeeper : public KeeperLink, keeper::MemorySaver {
 public:
  // All outlive it. `on_change`: it says something else than before.
  LocalKeeper(cluster::NodeId id, EventLoop* loop, etcd::FakeKv* etcd,
              const testing::FakeClock* clock, LaterQueue* later, std::function<void()> on_change)
      : id_(id),
        loop_(loop),
        clock_(clock),
        later_(later),
        on_change_(std::move(on_change)),
        kv_(etcd) {}

  // As if it had been killed and begun anew, if it was there.
  void Start() {
    keeper_.reset();
    store_ = std::make_unique<etcd::KvStore>(loop_, &kv_, clock_,
                                             etcd::KvStoreOptions{.scope = etcd::Scope::kNodes});
    keeper_ = std::make_unique<keeper::Keeper>(
        id_, remembered_,
        keeper::Keeper::Outside{store_.get(), this, [this] { return Now(); },
                                [this](cluster::Time at) { wake_ = at; },
                                [this] { later_->Add([this] { OnChange(); }); }});
    keeper_->Begin();
  }
  void Cut(bool cut) { kv_.cut = cut; }
  void Tick() {
    if (wake_ <= Now()) keeper_->Run();
    store_->Check();
  }
  bool Deliver() { return kv_.Deliver(); }
  void Drain(bool drained) { keeper_->OnStatement(keeper::Drained{drained}); }

  // KeeperLink
  const keeper::View* view() const override { return view_ ? &*view_ : nullptr; }
  cluster::DeadlinePage page() const override { return page_.Read(); }
  Result<UniqueFd> OpenPage() const override { return UniqueFd(dup(page_fd_.get())); }
  void Say(const keeper::Statement& statement) override {
    later_->Add([this, statement] { keeper_->OnStatement(statement); });
  }

 private:
  cluster::Time Now() const { return {clock_->monotonic_ns / 1000}; }
  void OnChange() {
    view_ = keeper_->view();
    page_fd_ = keeper_->page() != nullptr ? keeper_->page()->OpenForReader().value() : UniqueFd();
    page_ = page_fd_ ? cluster::PageReader::Map(page_fd_).value() : cluster::PageReader();
    on_change_();
  }
  // keeper::MemorySaver
  void Save(const keeper::MemoryState& state, std::function<void()> durable) override {
    remembered_ = state;
    if (durable) later_->Add(std::move(durable));
  }

  const cluster::NodeId id_;
  EventLoop* const loop_;
  const testing::FakeClock* const clock_;
  LaterQueue* const later_;
  const std::function<void()> on_change_;
  etcd::RemoteKv kv_;
  keeper::MemoryState remembered_;
  std::optional<keeper::View> view_;
  UniqueFd page_fd_;
  cluster::PageReader page_;
  cluster::Time wake_{1};
  std::unique_ptr<etcd::KvStore> store_;
  std::unique_ptr<keeper::Keeper> keeper_;
};

}  // namespace gemel::daemon
