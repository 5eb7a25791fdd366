// etcd as the protocol uses it: a linearizable store with a revision, one transaction at a time.
#pragma once
#include <array>
#include <cstdint>
#include <tuple>

#include "cluster/records.h"
#include "cluster/txn.h"

namespace gemel::explorer {

inline constexpr std::size_t kNodes = 2;

struct Kv {
  cluster::Revision store;
  std::uint64_t incarnation = 1;
  cluster::Revision incarnation_changed;
  std::array<cluster::SessionRecord, kNodes> session;
  std::array<cluster::Revision, kNodes> session_changed;
  std::array<cluster::Revision, kNodes> beat_changed;
  cluster::Ownership vm;
  cluster::Revision vm_changed;
  auto fields() {
    return std::tie(store, incarnation, incarnation_changed, session, session_changed, beat_changed,
                    vm, vm_changed);
  }

  cluster::TxnReply Apply(const cluster::Txn& txn);

 private:
  cluster::Revision Changed(const cluster::Key& key) const;
};

}  // namespace gemel::explorer
