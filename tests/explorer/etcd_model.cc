#include "tests/explorer/etcd_model.h"

namespace gemel::explorer {

using cluster::KeyKind;
using cluster::Txn;
using cluster::TxnResult;

cluster::Revision Kv::Changed(const cluster::Key& key) const {
  switch (key.kind) {
    case KeyKind::kIncarnation:
      return incarnation_changed;
    case KeyKind::kSession:
      return session_changed[key.id - 1];
    case KeyKind::kBeat:
      return beat_changed[key.id - 1];
    case KeyKind::kVm:
      return vm_changed;
  }
  return {};
}

cluster::TxnReply Kv::Apply(const Txn& txn) {
  for (std::uint32_t i = 0; i < txn.compare_count; ++i)
    if (Changed(txn.compares[i].key) != txn.compares[i].revision)
      return {TxnResult::kRefused, store};
  store.value += 1;
  if (txn.put == Txn::Put::kVm) {
    vm = txn.vm;
    vm_changed = store;
  }
  if (txn.put == Txn::Put::kSession || txn.put == Txn::Put::kSessionAndBeat) {
    session[txn.put_id - 1] = txn.session;
    session_changed[txn.put_id - 1] = store;
  }
  if (txn.put == Txn::Put::kBeat || txn.put == Txn::Put::kSessionAndBeat)
    beat_changed[txn.put_id - 1] = store;
  return {TxnResult::kSucceeded, store};
}

}  // namespace gemel::explorer
