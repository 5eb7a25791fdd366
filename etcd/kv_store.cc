#include "etcd/kv_store.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/log.h"

namespace gemel::etcd {

void KvStore::Commit(const cluster::Txn& txn, Done done) {
  kv_->Commit(EncodeTxn(txn), [done = std::move(done)](const Result<KvTxnAnswer>& answer) {
    using cluster::TxnResult;
    if (!answer) return done({});
    done({answer->succeeded ? TxnResult::kSucceeded : TxnResult::kRefused, {answer->revision}});
  });
}

void KvStore::Watch(OnView on_view) {
  CHECK(!on_view_);
  on_view_ = std::move(on_view);
  Start();
}

void KvStore::Check() {
  const std::int64_t silent = NowMs() - heard_ms_;
  if (ended_ && silent >= options_.retry_ms) {
    Start();
  } else if (!ended_ && silent >= options_.most_silence_ms) {
    // Where no node lives, nothing happens: then this is no trouble.
    if (!read_) OnEnd(fmt::format("no answer for {} ms", silent));
    Start();
  } else {
    Schedule((ended_ ? options_.retry_ms : options_.most_silence_ms) - silent);
  }
}

void KvStore::Start() {
  following_.reset();
  ended_ = false;
  read_ = false;
  heard_ms_ = NowMs();
  following_ = kv_->Follow(RangeOf(options_.scope),
                           {[this](const KvSnapshot& snapshot) { OnSnapshot(snapshot); },
                            [this](const std::vector<KeyEvent>& events) { OnEvents(events); },
                            [this](const Error& error) { OnEnd(error.message); }});
  Schedule(options_.most_silence_ms);
}

void KvStore::OnSnapshot(const KvSnapshot& snapshot) {
  if (!trouble_.empty()) LOG(kInfo, "etcd", "seen again, at revision {}", snapshot.revision);
  trouble_.clear();
  read_ = true;
  view_.Reset(snapshot);
  if (listener_.on_snapshot) listener_.on_snapshot(snapshot);
  Deliver({true, {}});
}

void KvStore::OnEvents(const std::vector<KeyEvent>& events) {
  const ViewChange change = view_.Apply(events);
  if (events.empty()) {
    heard_ms_ = NowMs();
    return;
  }
  if (listener_.on_events) listener_.on_events(events);
  Deliver(change);
}

// The stream itself is dropped with the next Start, not within its own callback.
void KvStore::OnEnd(std::string why) {
  if (trouble_.empty()) LOG(kWarning, "etcd", "the view is not kept up to date: {}", why);
  trouble_ = std::move(why);
  ended_ = true;
  heard_ms_ = NowMs();
  Schedule(options_.retry_ms);
}

void KvStore::Deliver(const ViewChange& change) {
  heard_ms_ = NowMs();
  const Entry<std::uint64_t>& incarnation = view_.incarnation();
  if (!incarnation.unreadable.empty()) {
    LOG(kError, "etcd", "the cluster's incarnation: {}", incarnation.unreadable);
    return;  // whatever the rest says, it is not known to which store it belongs
  }
  on_view_(view_, change);
}

void KvStore::Schedule(std::int64_t after_ms) {
  const Status started =
      timer_.Start(loop_, std::max<std::int64_t>(after_ms, 1), [this] { Check(); });
  if (!started) LOG(kError, "etcd", "timer: {}", started.error().message);
}

}  // namespace gemel::etcd
