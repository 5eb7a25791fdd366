// What gemel-keeper does: keeps the session of its node by cluster::Session, feeds it with what etcd
// shows, remembers what was seen, and writes the deadline page. Everything outside is handed in; one
// thread, its owner's.
//
// gemeld need not be there: a session that lives goes on. A new one opens only after gemeld's word
// that every VM process of earlier ones is still (messages.h).
#pragma once
#include <functional>
#include <optional>
#include <string>

#include "cluster/memory.h"
#include "cluster/page/page_memory.h"
#include "cluster/session.h"
#include "etcd/store.h"
#include "keeper/memory_file.h"
#include "keeper/messages.h"

namespace gemel::keeper {

class Keeper {
 public:
  struct Outside {
    etcd::ClusterStore* store = nullptr;
    MemorySaver* memory = nullptr;
    std::function<cluster::Time()> now;  // CLOCK_BOOTTIME
    // Call Run() at that moment, or soon after it; replaces the one before.
    std::function<void(cluster::Time)> wake_at;
    std::function<void()> on_change;  // view() says something else, or page() is another
    cluster::Rules rules = {};        // others are tests' alone
  };

  // What `outside` names outlives it.
  Keeper(cluster::NodeId node, const MemoryState& remembered, Outside outside);

  // Follows the store. Once.
  void Begin();
  // Looks at the time.
  void Run();
  void OnStatement(const Statement& statement);
  // Last: keeps what was seen. The page is poisoned when the Keeper goes.
  void End();

  View view() const;
  // The page of the session that lives, or nullptr. Until the next event.
  const cluster::PageWriter* page() const { return page_ ? &*page_ : nullptr; }

 private:
  void OnView(const etcd::View& view);
  void Believe(const etcd::View& view);
  void OnReply(cluster::RequestId id, const cluster::TxnReply& reply);
  void Publish();
  void Remember();
  void Tell();
  MemoryState State() const;
  std::string Trouble() const;
  void OnQuiet(cluster::SessionId up_to);
  bool quiet() const { return quiet_up_to_ && *quiet_up_to_ >= last_; }

  cluster::NodeId node_;
  cluster::Rules rules_;
  Outside outside_;
  cluster::Memory memory_;
  cluster::Session session_;
  std::optional<cluster::PageWriter> page_;
  cluster::SessionId live_;                        // the last session that lived here
  cluster::SessionId last_;                        // the highest that is known to have been
  std::optional<cluster::SessionId> quiet_up_to_;  // as gemeld said, if it did
  bool drained_ = false;
  bool stale_ = false;      // the last view was older than what was seen
  bool seen_ = false;       // a view has come
  std::string unreadable_;  // our own record is there, and cannot be read
  MemoryState saved_;       // given to the saver
  cluster::Time saved_at_ = cluster::kNever;
  std::uint64_t durable_incarnation_ = 0;
  // What the store showed of our session while its incarnation was not durable yet.
  std::optional<etcd::Entry<cluster::SessionRecord>> held_;
  View told_;
};

}  // namespace gemel::keeper
