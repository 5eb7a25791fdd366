#include "etcd/spec_store.h"

#include <utility>

#include "etcd/codec.h"
#include "etcd/record_value.h"

namespace gemel::etcd {
namespace {

template <class T>
void Set(Result<T> decoded, const KeyValue& from, Entry<T>& entry) {
  entry.changed = {from.changed};
  entry.unreadable = decoded ? "" : decoded.error().message;
  entry.value = decoded ? std::move(*decoded) : T{};
}

// What was just put, if nothing newer was seen meanwhile.
template <class T>
void Remember(const T& value, cluster::Revision changed, Entry<T>& entry) {
  if (entry.changed < changed) entry = {value, changed, ""};
}

Error NoAnswer(const Error& error) {
  return {Code::kUnavailable, "etcd: " + error.message + ": it may have been done, or may be yet"};
}

}  // namespace

KvStore::Listener SpecStore::listener() {
  return {[this](const KvSnapshot& snapshot) {
            specs_.clear();
            ++generation_;
            nodes_.clear();
            last_vm_ = {};
            level_.reset();
            for (const KeyValue& key : snapshot.keys) Take({key, false});
            known_ = true;
          },
          [this](const std::vector<KeyEvent>& events) {
            for (const KeyEvent& event : events) Take(event);
          }};
}

void SpecStore::Take(const KeyEvent& event) {
  const KeyValue& from = event.key_value;
  if (const auto vm = VmOfSpecKey(from.key)) {
    ++generation_;
    if (event.deleted)
      specs_.erase(*vm);
    else
      Set(DecodeSpec(from.value), from, specs_[*vm]);
  } else if (const auto node = NodeOfInfoKey(from.key)) {
    if (event.deleted)
      nodes_.erase(*node);
    else
      Set(DecodeInfo(from.value), from, nodes_[*node]);
  } else if (from.key == kLastVmKey) {
    Set(DecodeLastVm(from.value), from, last_vm_);
  } else if (from.key == kLevelKey) {
    level_ = event.deleted ? std::nullopt : std::optional(ParseNumber(from.value).value_or(0));
  }
}

std::uint32_t SpecStore::Find(const std::string& name) const {
  for (const auto& [vm, entry] : specs_)
    if (entry.unreadable.empty() && entry.value.name == name) return vm;
  return 0;
}

void SpecStore::Create(const MachineSpec& spec, Created done) {
  if (Find(spec.name) != 0)
    return done(MakeError(Code::kAlreadyExists, spec.name + " exists in the cluster"));
  if (!last_vm_.unreadable.empty())
    return done(FailedPrecondition("{}: {}", kLastVmKey, last_vm_.unreadable));
  const std::uint32_t vm = last_vm_.value + 1;
  KvTxn txn;
  txn.compares = {{std::string(kLastVmKey), last_vm_.changed.value}, {NameKey(spec.name), 0}};
  txn.puts = {{std::string(kLastVmKey), EncodeLastVm(vm)},
              {NameKey(spec.name), EncodeName(vm)},
              {SpecKey(vm), EncodeSpec(spec)}};
  kv_->Commit(
      std::move(txn), [this, vm, spec, done = std::move(done)](const Result<KvTxnAnswer>& answer) {
        if (!answer) return done(std::unexpected(NoAnswer(answer.error())));
        if (!answer->succeeded)
          return done(
              MakeError(Code::kAborted, "another machine was made at the same moment: try again"));
        Remember(vm, {answer->revision}, last_vm_);
        Remember(spec, {answer->revision}, specs_[vm]);
        ++generation_;
        done(vm);
      });
}

void SpecStore::Commit(KvTxn txn, Done done) {
  kv_->Commit(std::move(txn), [done = std::move(done)](const Result<KvTxnAnswer>& answer) {
    if (!answer) return done(std::unexpected(NoAnswer(answer.error())));
    if (!answer->succeeded)
      return done(MakeError(Code::kAborted, "it was changed at the same moment: try again"));
    done({});
  });
}

void SpecStore::Update(std::uint32_t vm, cluster::Revision changed, const MachineSpec& spec,
                       bool alone, Done done) {
  if (alone && !last_vm_.unreadable.empty())
    return done(FailedPrecondition("{}: {}", kLastVmKey, last_vm_.unreadable));
  KvTxn txn;
  txn.compares = {{SpecKey(vm), changed.value}};
  txn.puts = {{SpecKey(vm), EncodeSpec(spec)}};
  const std::uint32_t last = last_vm_.value;
  if (alone) {  // the same value again: what else compares its revision is refused
    txn.compares.push_back({std::string(kLastVmKey), last_vm_.changed.value});
    txn.puts.push_back({std::string(kLastVmKey), EncodeLastVm(last)});
  }
  kv_->Commit(std::move(txn), [this, vm, spec, alone, last,
                               done = std::move(done)](const Result<KvTxnAnswer>& answer) {
    if (!answer) return done(std::unexpected(NoAnswer(answer.error())));
    if (!answer->succeeded)
      return done(MakeError(Code::kAborted, "it was changed at the same moment: try again"));
    if (alone) Remember(last, {answer->revision}, last_vm_);
    const auto found = specs_.find(vm);
    if (found != specs_.end()) Remember(spec, {answer->revision}, found->second);
    ++generation_;
    done({});
  });
}

void SpecStore::Delete(const Deletion& deletion, Done done) {
  const auto found = specs_.find(deletion.vm);
  if (found == specs_.end()) return done({});
  const std::string record = EncodeKey({cluster::KeyKind::kVm, deletion.vm});
  KvTxn txn;
  txn.compares = {{SpecKey(deletion.vm), deletion.spec.value}, {record, deletion.record.value}};
  if (deletion.session)
    txn.compares.push_back({EncodeKey({cluster::KeyKind::kSession, deletion.session->first}),
                            deletion.session->second.value});
  txn.deletes = {SpecKey(deletion.vm), NameKey(found->second.value.name), record};
  Commit(std::move(txn), std::move(done));
}

void SpecStore::PutNode(cluster::NodeId node, cluster::Revision changed, const NodeInfo& info,
                        Done done) {
  KvTxn txn;
  txn.compares = {{InfoKey(node), changed.value}};
  txn.puts = {{InfoKey(node), EncodeInfo(info)}};
  Commit(std::move(txn), std::move(done));
}

}  // namespace gemel::etcd
