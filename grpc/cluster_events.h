// What nodes of the cluster decided, as events that all of them have in one order: that in which etcd took
// them (docs/decisions/010-events-of-the-cluster.md). Each node writes its own into a ring of keys, so
// their history is bounded, and follows those of all. One thread, that of the manager loop.
#pragma once
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "etcd/kv.h"
#include "etcd/kv_store.h"
#include "grpc/cluster_seat.h"

namespace gemel::daemon {

class ClusterEvents {
 public:
  // Both outlive it. `node` is called `name`.
  ClusterEvents(cluster::NodeId node, std::string name, etcd::Kv* kv, ClusterRecords* records)
      : node_(node), name_("nodes/" + std::move(name)), kv_(kv), records_(records) {}

  etcd::KvStore::Listener listener();

  // This node has decided that. Told once a majority has it; what waits for more than that is dropped,
  // the oldest first.
  void Tell(v1::EventType type, const std::string& resource, const std::string& uid,
            const std::string& epoch, std::string_view reason, std::string message,
            std::int64_t realtime_ns);
  // What waits: is written if this node is a member, in `incarnation`; and told here.
  void Run(bool member, std::uint64_t incarnation);

 private:
  void Read(const std::vector<etcd::KeyValue>& keys);
  void Begin(const std::vector<etcd::KeyValue>& keys);
  void Take(const etcd::KeyValue& from);
  void EndWriting(const std::string& seen);
  void Write(std::uint64_t incarnation);

  const cluster::NodeId node_;
  const std::string name_;
  etcd::Kv* const kv_;
  ClusterRecords* const records_;
  bool known_ = false;                          // what etcd has was read once
  bool gap_ = false;                            // before the next one that comes
  std::map<std::string, std::uint64_t> taken_;  // the highest number, by node
  std::map<std::string, std::int64_t> slots_;   // this node's keys: when they were last written
  std::deque<v1::Event> outgoing_;
  // What is being written, and its number, until it is seen.
  std::optional<std::pair<std::uint64_t, v1::Event>> writing_;
  bool asked_ = false;               // etcd owes an answer
  std::vector<v1::Event> incoming_;  // not durable here yet
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace gemel::daemon
