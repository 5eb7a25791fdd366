// A FakeKv as one node reaches it: what is asked and answered takes its time (until Deliver), and gets
// lost while the node is cut off. A stream that lost something is silent from then on.
#pragma once
#include <deque>
#include <functional>
#include <memory>
#include <utility>

#include "tests/fakes/fake_kv.h"

namespace gemel::etcd {

class RemoteKv : public Kv {
 public:
  explicit RemoteKv(FakeKv* etcd) : etcd_(etcd) {}

  // No majority is in reach: calls are lost, and streams say nothing.
  bool cut = false;

  FakeKv* below() const { return etcd_; }

  // All that is under way arrives. Whether anything was.
  bool Deliver() {
    if (queue_.empty()) return false;
    for (auto& event : std::exchange(queue_, {})) event();
    return true;
  }

  void Commit(KvTxn txn, std::function<void(Result<KvTxnAnswer>)> done) override {
    if (cut) return;
    etcd_->Commit(std::move(txn),
                  [this, done = std::move(done)](const Result<KvTxnAnswer>& answer) {
                    queue_.push_back([done, answer] { done(answer); });
                  });
  }

  std::unique_ptr<Following> Follow(KeyRange range, Follower follower) override {
    auto stream = std::make_unique<Stream>();
    if (cut) return stream;
    const auto later = [this, whole = stream->whole](auto function) {
      return [this, whole, function](const auto& what) {
        *whole = *whole && !cut;
        if (!*whole) return;
        queue_.push_back([whole, function, what] {
          if (*whole) function(what);
        });
      };
    };
    stream->below = etcd_->Follow(
        std::move(range),
        {later(follower.on_snapshot), later(follower.on_events), later(follower.on_end)});
    return stream;
  }

 private:
  struct Stream : Following {
    ~Stream() override { *whole = false; }
    std::shared_ptr<bool> whole = std::make_shared<bool>(true);
    std::unique_ptr<Following> below;
  };

  FakeKv* etcd_;
  std::deque<std::function<void()>> queue_;
};

}  // namespace gemel::etcd
