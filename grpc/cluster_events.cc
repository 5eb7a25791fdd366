#include "grpc/cluster_events.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "etcd/spec_codec.h"
#include "grpc/api_error.h"

namespace gemel::daemon {
namespace {

constexpr std::size_t kMostWaiting = 256;
// A node that numbered so many while this one was away would have been seen: the value is not a node's.
constexpr std::uint64_t kMostMissed = 1U << 24;

}  // namespace

etcd::KvStore::Listener ClusterEvents::listener() {
  return {[this](const etcd::KvSnapshot& snapshot) {
            slots_.clear();
            Read(snapshot.keys);
          },
          [this](const std::vector<etcd::KeyEvent>& events) {
            std::vector<etcd::KeyValue> keys;
            for (const etcd::KeyEvent& event : events) {
              slots_.erase(event.key_value.key);
              if (!event.deleted) keys.push_back(event.key_value);
            }
            Read(keys);
          }};
}

void ClusterEvents::Read(const std::vector<etcd::KeyValue>& keys) {
  std::vector<etcd::KeyValue> events;
  for (const etcd::KeyValue& key : keys) {
    const auto writer = etcd::NodeOfEventKey(key.key);
    if (writer) events.push_back(key);
    if (writer == node_) slots_[key.key] = key.changed;
  }
  std::ranges::sort(events, {}, &etcd::KeyValue::changed);
  if (!std::exchange(known_, true)) Begin(events);
  for (const etcd::KeyValue& event : events) Take(event);
}

// A node that has told none of them yet, or forgot, does not tell old ones as if they were news.
void ClusterEvents::Begin(const std::vector<etcd::KeyValue>& keys) {
  taken_ = records_->TakenEvents();
  if (!taken_.empty()) return;
  gap_ = !keys.empty();
  for (const etcd::KeyValue& key : keys) {
    const Result<etcd::NodeEvent> event = etcd::DecodeEvent(key.value);
    v1::Event told;
    if (event && told.ParseFromString(event->event)) {
      std::uint64_t& taken = taken_[told.decision().node()];
      taken = std::max(taken, event->number);
    }
  }
}

void ClusterEvents::Take(const etcd::KeyValue& from) {
  const Result<etcd::NodeEvent> found = etcd::DecodeEvent(from.value);
  v1::Event event;
  if (!found || !event.ParseFromString(found->event)) {
    LOG(kWarning, "cluster", "{}: {}", from.key, found ? "no event" : found.error().message);
    return;
  }
  v1::ClusterDecision& decision = *event.mutable_decision();
  std::uint64_t& taken = taken_[decision.node()];
  if (found->number <= taken) return;
  const auto writer = etcd::NodeOfEventKey(from.key);
  if (!writer || etcd::EventKey(*writer, found->number) != from.key ||
      found->number - taken > kMostMissed) {
    LOG(kWarning, "cluster", "{}: event {} of {} does not belong there", from.key, found->number,
        Printable(decision.node()));
    return;
  }
  event.set_reason(Printable(event.reason()));
  event.set_message(Printable(event.message()));
  if (decision.node() == name_) EndWriting(found->event);
  // Some were written over before they could be read here.
  if (taken != 0 && found->number != taken + 1) gap_ = true;
  taken = found->number;
  decision.set_number(found->number);
  decision.set_incarnation(found->incarnation);
  decision.set_revision(from.changed);
  decision.set_after_gap(std::exchange(gap_, false));
  incoming_.push_back(std::move(event));
}

// Of what was seen under this node's name. It may be what a process before this one had on its way.
void ClusterEvents::EndWriting(const std::string& seen) {
  if (writing_ && writing_->second.SerializeAsString() != seen)
    outgoing_.push_front(std::move(writing_->second));
  writing_.reset();
}

void ClusterEvents::Tell(v1::EventType type, const std::string& resource, const std::string& uid,
                         const std::string& epoch, std::string_view reason, std::string message,
                         std::int64_t realtime_ns) {
  v1::Event event;
  event.mutable_event_time()->set_seconds(realtime_ns / 1'000'000'000);
  event.mutable_event_time()->set_nanos(static_cast<std::int32_t>(realtime_ns % 1'000'000'000));
  event.set_type(type);
  event.set_resource(resource);
  event.set_uid(uid);
  event.set_reason(std::string(reason));
  event.set_message(Printable(message));
  event.mutable_decision()->set_node(name_);
  event.mutable_decision()->set_epoch(epoch);
  if (outgoing_.size() == kMostWaiting) outgoing_.pop_front();
  outgoing_.push_back(std::move(event));
}

void ClusterEvents::Run(bool member, std::uint64_t incarnation) {
  if (!incoming_.empty() && records_->TakeEvents(incoming_)) incoming_.clear();
  if (member && known_ && !asked_ && (writing_ || !outgoing_.empty())) Write(incarnation);
}

// One at a time. After an answer that was lost the same is asked for again, and refused if it was written:
// it has one revision, which is its place in the order.
void ClusterEvents::Write(std::uint64_t incarnation) {
  if (!writing_) {
    writing_ = {taken_[name_] + 1, std::move(outgoing_.front())};
    outgoing_.pop_front();
  }
  const auto& [number, event] = *writing_;
  etcd::KvTxn txn;
  const std::string slot = etcd::EventKey(node_, number);
  const auto seen = slots_.find(slot);
  txn.compares = {{slot, seen == slots_.end() ? 0 : seen->second}};
  txn.puts = {{slot, etcd::EncodeEvent({number, incarnation, event.SerializeAsString()})}};
  asked_ = true;
  kv_->Commit(std::move(txn),
              [this, alive = std::weak_ptr(alive_)](const Result<etcd::KvTxnAnswer>& /*answer*/) {
                if (!alive.expired()) asked_ = false;
              });
}

}  // namespace gemel::daemon
