#include "etcd/codec.h"

#include <array>
#include <utility>

#include "etcd/record_value.h"

namespace gemel::etcd {
namespace {

using cluster::KeyKind;
using cluster::Ownership;
using cluster::SessionId;
using cluster::SessionRecord;
using cluster::SessionState;
using cluster::VmState;
using internal::ClusterValue;

constexpr std::string_view kIncarnationKey = "/gemel/nodes/incarnation";
constexpr std::array<std::pair<KeyKind, std::string_view>, 3> kPrefixes = {{
    {KeyKind::kBeat, "/gemel/nodes/beat/"},
    {KeyKind::kSession, "/gemel/nodes/session/"},
    {KeyKind::kVm, "/gemel/vms/"},
}};
constexpr std::size_t kMostBytes = 64 << 10;

// ---- what records are made of -------------------------------------------------------------------

void Fill(const SessionId& from, internal::ClusterSessionId* to) {
  to->set_incarnation(from.incarnation);
  to->set_number(from.number);
}
SessionId From(const internal::ClusterSessionId& id) { return {id.incarnation(), id.number()}; }

void Fill(const cluster::Epoch& from, internal::ClusterEpoch* to) {
  to->set_incarnation(from.incarnation);
  to->set_counter(from.counter);
}
cluster::Epoch From(const internal::ClusterEpoch& epoch) {
  return {epoch.incarnation(), epoch.counter()};
}

// On the wire both begin at 1, so that a state that was left out is none.
internal::ClusterSessionState ToWire(SessionState state) {
  return static_cast<internal::ClusterSessionState>(std::to_underlying(state) + 1);
}
internal::ClusterVmState ToWire(VmState state) {
  return static_cast<internal::ClusterVmState>(std::to_underlying(state) + 1);
}
static_assert(std::to_underlying(SessionState::kClosed) + 1 ==
              internal::CLUSTER_SESSION_STATE_CLOSED);
static_assert(std::to_underlying(VmState::kMoving) + 1 == internal::CLUSTER_VM_STATE_MOVING);
static_assert(std::to_underlying(cluster::OffBy::kAgent) == internal::CLUSTER_OFF_BY_AGENT);

}  // namespace

KeyRange RangeOf(Scope scope) {
  // '0' is what follows '/'.
  if (scope == Scope::kNodes) return {"/gemel/nodes/", "/gemel/nodes0"};
  return {"/gemel/", "/gemel0"};
}

std::string EncodeKey(const cluster::Key& key) {
  for (const auto& [kind, prefix] : kPrefixes)
    if (kind == key.kind) return fmt::format("{}{}", prefix, key.id);
  return std::string(kIncarnationKey);
}

std::optional<cluster::Key> DecodeKey(std::string_view key) {
  if (key == kIncarnationKey) return cluster::Key{};
  for (const auto& [kind, prefix] : kPrefixes) {
    if (!key.starts_with(prefix)) continue;
    const std::optional<std::uint32_t> id = ParseNumber(key.substr(prefix.size()));
    if (id) return cluster::Key{kind, *id};
  }
  return std::nullopt;
}

std::string EncodeIncarnation(std::uint64_t number) {
  ClusterValue value;
  value.mutable_incarnation()->set_number(number);
  return Serialize(std::move(value));
}

std::string EncodeSession(const SessionRecord& record) {
  ClusterValue value;
  Fill(record.id, value.mutable_session()->mutable_id());
  value.mutable_session()->set_state(ToWire(record.state));
  value.mutable_session()->set_off(static_cast<internal::ClusterOffBy>(record.off));
  return Serialize(std::move(value));
}

std::string EncodeBeat(std::uint64_t count) {
  ClusterValue value;
  value.mutable_beat()->set_count(count);
  return Serialize(std::move(value));
}

std::string EncodeOwnership(const Ownership& record) {
  ClusterValue value;
  internal::ClusterOwnership& vm = *value.mutable_vm();
  vm.set_owner(record.owner);
  Fill(record.session, vm.mutable_session());
  Fill(record.epoch, vm.mutable_epoch());
  vm.set_state(ToWire(record.state));
  vm.set_reserved_for(record.reserved_for);
  if (record.last != cluster::Issuer{}) {
    vm.mutable_last()->set_node(record.last.node);
    Fill(record.last.session, vm.mutable_last()->mutable_session());
    Fill(record.last.epoch, vm.mutable_last()->mutable_epoch());
  }
  return Serialize(std::move(value));
}

Result<std::uint64_t> DecodeIncarnation(std::string_view value) {
  ASSIGN_OR_RETURN(const ClusterValue decoded,
                   Parse(value, ClusterValue::kIncarnation, kMostBytes));
  if (decoded.incarnation().number() == 0) return InvalidArgument("incarnation 0: none is");
  return decoded.incarnation().number();
}

Result<SessionRecord> DecodeSession(std::string_view value) {
  ASSIGN_OR_RETURN(const ClusterValue decoded, Parse(value, ClusterValue::kSession, kMostBytes));
  const internal::ClusterSession& session = decoded.session();
  const SessionId id = From(session.id());
  if (id.incarnation == 0 || id.number == 0)
    return InvalidArgument("session {}.{}: none is", id.incarnation, id.number);
  if (session.state() <= internal::CLUSTER_SESSION_STATE_UNSPECIFIED ||
      session.state() > internal::CLUSTER_SESSION_STATE_CLOSED)
    return InvalidArgument("session state {}: unknown", static_cast<int>(session.state()));
  if (session.off() < internal::CLUSTER_OFF_BY_UNSPECIFIED ||
      session.off() > internal::CLUSTER_OFF_BY_AGENT)
    return InvalidArgument("session off by {}: unknown", static_cast<int>(session.off()));
  SessionRecord record{id, static_cast<SessionState>(session.state() - 1),
                       static_cast<cluster::OffBy>(session.off())};
  if (record.off != cluster::OffBy::kNobody && record.state != SessionState::kFenced)
    return InvalidArgument("session {}.{} is off and not fenced: cannot be", id.incarnation,
                           id.number);
  return record;
}

Result<std::uint64_t> DecodeBeat(std::string_view value) {
  ASSIGN_OR_RETURN(const ClusterValue decoded, Parse(value, ClusterValue::kBeat, kMostBytes));
  return decoded.beat().count();
}

Result<Ownership> DecodeOwnership(std::string_view value) {
  ASSIGN_OR_RETURN(const ClusterValue decoded, Parse(value, ClusterValue::kVm, kMostBytes));
  const internal::ClusterOwnership& vm = decoded.vm();
  if (vm.state() <= internal::CLUSTER_VM_STATE_UNSPECIFIED ||
      vm.state() > internal::CLUSTER_VM_STATE_MOVING)
    return InvalidArgument("ownership state {}: unknown", static_cast<int>(vm.state()));
  Ownership record;
  record.owner = vm.owner();
  record.session = From(vm.session());
  record.epoch = From(vm.epoch());
  record.state = static_cast<VmState>(vm.state() - 1);
  record.reserved_for = vm.reserved_for();
  record.last = {vm.last().node(), From(vm.last().session()), From(vm.last().epoch())};
  if (record.epoch.incarnation == 0 || record.epoch.counter == 0)
    return InvalidArgument("ownership without an epoch");
  if ((record.state == VmState::kFree) != (record.owner == 0))
    return InvalidArgument("ownership state {} of node {}: cannot be", static_cast<int>(vm.state()),
                           record.owner);
  return record;
}

KvTxn EncodeTxn(const cluster::Txn& txn) {
  using Put = cluster::Txn::Put;
  KvTxn out;
  for (std::uint32_t i = 0; i < txn.compare_count; ++i)
    out.compares.push_back({EncodeKey(txn.compares[i].key), txn.compares[i].revision.value});
  const auto put = [&](KeyKind kind, std::string value) {
    out.puts.push_back({EncodeKey({kind, txn.put_id}), std::move(value)});
  };
  if (txn.put == Put::kSession || txn.put == Put::kSessionAndBeat)
    put(KeyKind::kSession, EncodeSession(txn.session));
  if (txn.put == Put::kBeat || txn.put == Put::kSessionAndBeat)
    put(KeyKind::kBeat, EncodeBeat(txn.beat));
  if (txn.put == Put::kVm) put(KeyKind::kVm, EncodeOwnership(txn.vm));
  return out;
}

}  // namespace gemel::etcd
