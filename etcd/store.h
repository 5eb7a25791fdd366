// The cluster's records, wherever they are kept: what gemel-keeper and gemeld ask of etcd. One
// thread, that of the owner's EventLoop; nothing blocks; callbacks come later, on that thread.
#pragma once
#include <cstdint>
#include <functional>

#include "cluster/txn.h"
#include "etcd/view.h"

namespace gemel::etcd {

class ClusterStore {
 public:
  using Done = std::function<void(const cluster::TxnReply&)>;
  // The view belongs to the store and is right until the callback returns. Views come in the order of
  // their revisions as long as the store does not go back; whether one may be believed is for
  // cluster::Memory to say.
  using OnView = std::function<void(const View& view, const ViewChange& change)>;

  virtual ~ClusterStore() = default;
  // Sends it once. `done` is called once, with kUnknown if there was no answer in time.
  virtual void Commit(const cluster::Txn& txn, Done done) = 0;
  // Follows the store from now on; called once. It goes on for ever, whatever happens to members.
  virtual void Watch(OnView on_view) = 0;
};

}  // namespace gemel::etcd
