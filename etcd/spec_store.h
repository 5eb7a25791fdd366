// What operators ask for of the cluster's machines and nodes, as etcd has it: a copy that is kept up to
// date by listening to a KvStore, and changes by compare-and-swap. Who runs what is in other records
// (cluster/records.h). The loop's thread; a callback comes on it, at once if etcd need not be asked.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "etcd/kv.h"
#include "etcd/kv_store.h"
#include "etcd/spec_codec.h"
#include "etcd/view.h"

namespace gemel::etcd {

class SpecStore {
 public:
  // kAborted: it is not what the caller had seen, and nothing was changed. kUnavailable: there was no
  // answer; it may have been done, or may be yet.
  using Done = std::function<void(const Status&)>;
  // The new machine's number. Also kAlreadyExists: the name is taken.
  using Created = std::function<void(const Result<std::uint32_t>&)>;

  // `kv` outlives it.
  explicit SpecStore(Kv* kv) : kv_(kv) {}
  KvStore::Listener listener();

  // Whether all was read once.
  bool known() const { return known_; }
  const std::map<std::uint32_t, Entry<MachineSpec>>& specs() const { return specs_; }
  const std::map<cluster::NodeId, Entry<NodeInfo>>& nodes() const { return nodes_; }
  // Another number each time that something of specs() may be another.
  std::uint64_t generation() const { return generation_; }
  // What all members understand; nullopt: nobody says, as where no gemel-member runs.
  std::optional<std::uint32_t> level() const { return level_; }
  // A machine of that name; 0: none.
  std::uint32_t Find(const std::string& name) const;

  void Create(const MachineSpec& spec, Created done);
  // `changed`: of the one that is replaced. The name stays. `alone`: neither was a machine made since
  // what this store has seen, nor another changed so; for what has to be unique among them.
  void Update(std::uint32_t vm, cluster::Revision changed, const MachineSpec& spec, bool alone,
              Done done);
  // Also of its ownership record, which was `record` last (0: there is none), and, if that names an owner
  // whose session is over, of the record that says so.
  struct Deletion {
    std::uint32_t vm = 0;
    cluster::Revision spec;
    cluster::Revision record;
    std::optional<std::pair<cluster::NodeId, cluster::Revision>> session;
  };
  void Delete(const Deletion& deletion, Done done);
  void PutNode(cluster::NodeId node, cluster::Revision changed, const NodeInfo& info, Done done);

 private:
  void Take(const KeyEvent& event);
  void Commit(KvTxn txn, Done done);

  Kv* kv_;
  bool known_ = false;
  std::uint64_t generation_ = 0;
  std::map<std::uint32_t, Entry<MachineSpec>> specs_;
  std::map<cluster::NodeId, Entry<NodeInfo>> nodes_;
  Entry<std::uint32_t> last_vm_;
  std::optional<std::uint32_t> level_;
};

}  // namespace gemel::etcd
