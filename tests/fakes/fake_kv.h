// etcd in memory: one linearizable map, whose streams and answers the test holds in its hand.
#pragma once
#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "etcd/kv.h"

namespace gemel::etcd {

class FakeKv : public Kv {
 public:
  // While false, calls are committed but their answers wait for Answer() (or for ever).
  bool answers = true;
  // While false, nothing is committed either: calls wait for Deliver() (or for ever).
  bool reachable = true;
  // Streams say nothing and do not end.
  bool streams_hang = false;

  void Commit(KvTxn txn, std::function<void(Result<KvTxnAnswer>)> done) override {
    ++commits;
    if (!reachable) {
      lost.push_back({std::move(txn), std::move(done)});
    } else if (const KvTxnAnswer answer = Apply(txn); answers) {
      done(answer);
    } else {
      held.push_back([done = std::move(done), answer] { done(answer); });
    }
  }

  // Commits what never got there, as a network does that held it back.
  void Deliver() {
    for (auto& [txn, done] : std::exchange(lost, {})) done(Apply(txn));
  }
  void Answer() {
    for (auto& answer : std::exchange(held, {})) answer();
  }
  void FailCalls() {
    held.clear();
    for (auto& [txn, done] : std::exchange(lost, {}))
      done(MakeError(Code::kDeadlineExceeded, "no answer"));
  }

  // As another client would.
  void Put(const std::string& key, const std::string& value) { Apply({{}, {{key, value}}, {}}); }
  void Delete(const std::string& key) {
    keys.erase(key);
    ++revision;
    Tell({{{key, "", revision}, true}});
  }
  // All streams end, as when their members die.
  void EndStreams(const std::string& why) {
    for (Stream* stream : std::vector<Stream*>(streams_))
      if (std::exchange(stream->live, false)) stream->follower.on_end({Code::kUnavailable, why});
  }
  // The stream lives, and nothing has changed.
  void SayNothing() { Tell({}); }

  std::unique_ptr<Following> Follow(KeyRange range, Follower follower) override {
    ++follows;
    auto stream = std::make_unique<Stream>();
    stream->kv = this;
    stream->range = std::move(range);
    stream->follower = std::move(follower);
    streams_.push_back(stream.get());
    if (!streams_hang) Begin(*stream);
    return stream;
  }

  std::map<std::string, KeyValue> keys;
  std::int64_t revision = 1;
  int commits = 0;
  int follows = 0;
  std::vector<std::pair<KvTxn, std::function<void(Result<KvTxnAnswer>)>>> lost;
  std::vector<std::function<void()>> held;

 private:
  struct Stream : Following {
    ~Stream() override { std::erase(kv->streams_, this); }
    FakeKv* kv = nullptr;
    KeyRange range;
    Follower follower;
    bool live = false;
  };

  static bool In(const KeyRange& range, const std::string& key) {
    return key >= range.first && key < range.end;
  }
  void Begin(Stream& stream) {
    KvSnapshot snapshot{revision, {}};
    for (const auto& [key, value] : keys)
      if (In(stream.range, key)) snapshot.keys.push_back(value);
    stream.live = true;
    stream.follower.on_snapshot(std::move(snapshot));
  }
  void Tell(const std::vector<KeyEvent>& events) {
    if (streams_hang) return;
    for (Stream* stream : std::vector<Stream*>(streams_)) {
      std::vector<KeyEvent> seen;
      for (const KeyEvent& event : events)
        if (In(stream->range, event.key_value.key)) seen.push_back(event);
      if (stream->live && seen.empty() == events.empty()) stream->follower.on_events(seen);
    }
  }
  KvTxnAnswer Apply(const KvTxn& txn) {
    for (const KvTxn::Compare& compare : txn.compares) {
      const auto found = keys.find(compare.key);
      if ((found == keys.end() ? 0 : found->second.changed) != compare.changed)
        return {false, revision};
    }
    ++revision;
    const std::int64_t committed = revision;
    std::vector<KeyEvent> events;
    for (const KvTxn::Put& put : txn.puts) {
      keys[put.key] = {put.key, put.value, committed};
      events.push_back({keys[put.key], false});
    }
    for (const std::string& key : txn.deletes) {
      if (keys.erase(key) > 0) events.push_back({{key, "", committed}, true});
    }
    Tell(events);
    return {true, committed};
  }

  std::vector<Stream*> streams_;
};

}  // namespace gemel::etcd
