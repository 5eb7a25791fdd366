// A ClusterStore over a Kv: follows the cluster's keys for ever. When a stream ends, is silent for too
// long, or was compacted away, everything is read anew from a majority through another member, so that
// a store that went back shows.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/event_loop.h"
#include "base/timer.h"
#include "etcd/codec.h"
#include "etcd/kv.h"
#include "etcd/store.h"

namespace gemel::etcd {

struct KvStoreOptions {
  Scope scope = Scope::kAll;
  // Each live node is heard twice a second, so a stream without a word for so long may be dead.
  std::int64_t most_silence_ms = 1000;
  std::int64_t retry_ms = 100;
};

// loop, kv and clock outlive it.
class KvStore : public ClusterStore {
 public:
  KvStore(EventLoop* loop, Kv* kv, const Clock* clock, const KvStoreOptions& options)
      : loop_(loop), kv_(kv), clock_(clock), options_(options) {}

  void Commit(const cluster::Txn& txn, Done done) override;
  void Watch(OnView on_view) override;

  // All that is read and heard, as it comes, before the view that is made of it. Before Watch.
  struct Listener {
    std::function<void(const KvSnapshot&)> on_snapshot;
    std::function<void(const std::vector<KeyEvent>&)> on_events;
  };
  void Listen(Listener listener) { listener_ = std::move(listener); }

  // Looks at the time. The store's own timer calls it.
  void Check();
  // Why nothing new is seen at the moment; empty if all is well.
  const std::string& trouble() const { return trouble_; }

 private:
  void Start();
  void OnSnapshot(const KvSnapshot& snapshot);
  void OnEvents(const std::vector<KeyEvent>& events);
  void OnEnd(std::string why);
  void Deliver(const ViewChange& change);
  void Schedule(std::int64_t after_ms);
  std::int64_t NowMs() const { return clock_->MonotonicNow() / 1'000'000; }

  EventLoop* loop_;
  Kv* kv_;
  const Clock* clock_;
  KvStoreOptions options_;
  OnView on_view_;
  Listener listener_;
  View view_;
  std::unique_ptr<Following> following_;
  bool read_ = false;   // following_ has shown everything once
  bool ended_ = false;  // following_ has nothing more to say
  std::int64_t heard_ms_ = 0;
  std::string trouble_;
  Timer timer_;
};

}  // namespace gemel::etcd
