// What etcd keeps for the cluster, as plain data, and what follows from it alone.
//
//   incarnation      a number, raised by whoever restores etcd or forces a new cluster
//   session/NODE     SessionRecord: changes when a session opens, ends, or is fenced
//   beat/NODE        a counter: changes with every heartbeat
//   vm/VM            Ownership: who may run this machine, and how far it has got
//
// fields() gives every member to tests that hash, print and reorder whole states.
#pragma once
#include <array>
#include <compare>
#include <cstdint>
#include <span>
#include <tuple>

namespace gemel::cluster {

using NodeId = std::uint32_t;  // 1 and up; 0 is nobody

// etcd's revision: of the store, or of the last change of a key (0: there is no such key).
struct Revision {
  std::int64_t value = 0;
  constexpr auto operator<=>(const Revision&) const = default;
};

// One life of a node as a member: from opening until its right ends. Never used again.
struct SessionId {
  std::uint64_t incarnation = 0;
  std::uint64_t number = 0;
  constexpr auto operator<=>(const SessionId&) const = default;
  auto fields() { return std::tie(incarnation, number); }
};

enum class SessionState : std::uint8_t { kOpen, kFenced, kClosed };

// By whom it is known, beside its silence, that the node of a fenced session is off. It is part of that
// session's record, so it ends with the next session that the node opens.
enum class OffBy : std::uint8_t {
  kNobody,
  kPerson,  // somebody has said so (gemel cluster confirm-dead)
  kAgent,   // a fence agent has switched it off, and seen it off
};

struct SessionRecord {
  SessionId id;
  SessionState state = SessionState::kOpen;
  OffBy off = OffBy::kNobody;
  bool operator==(const SessionRecord&) const = default;
  auto fields() { return std::tie(id, state, off); }
};

// Whether a node whose session record this is can issue nothing more under `session`: it was fenced,
// it was closed, or the node itself opened a later one, for which all of this one had to be stopped.
constexpr bool ProvesOver(const SessionRecord& record, SessionId session) {
  return record.id > session || (record.id == session && record.state != SessionState::kOpen);
}

// Whether nothing of `session` can reach a disk any more, whatever that disk lets pass: its node is off, or
// has ended it by itself, for which each of its processes had to be gone or to have nothing under way.
constexpr bool ProvesOff(const SessionRecord& record, SessionId session) {
  if (record.id != session) return record.id > session;
  return record.state == SessionState::kClosed || record.off != OffBy::kNobody;
}

// The order of owners of one machine. A later owner has a higher epoch, always.
struct Epoch {
  std::uint64_t incarnation = 0;
  std::uint64_t counter = 0;
  constexpr auto operator<=>(const Epoch&) const = default;
  auto fields() { return std::tie(incarnation, counter); }
};

// The name under which storage knows an owner: an I_T nexus of its own for each (node, epoch).
struct StorageKey {
  NodeId node = 0;
  Epoch epoch;
  constexpr auto operator<=>(const StorageKey&) const = default;
  auto fields() { return std::tie(node, epoch); }
};
// A persistent reservation's key (SPC-4 5.13: 8 bytes, not 0), from the top: 0x6D, 8 bits of node,
// 16 of incarnation, 32 of counter. 0 if it does not fit; nothing may be registered then.
std::uint64_t EncodeStorageKey(const StorageKey& key);
// The reverse; node 0 for a key that is not one of ours.
StorageKey DecodeStorageKey(std::uint64_t bytes);

enum class VmState : std::uint8_t {
  kFree,      // nobody runs it
  kFencing,   // the owner is making sure that nobody else can write; it runs nothing
  kStarting,  // all are shut out; the owner may have started it
  kRunning,
  kMoving,  // the owner is stopping it, to give it away
};

// Whether an owner in this state may have written to the disk.
constexpr bool MayHaveIssued(VmState state) {
  return state == VmState::kStarting || state == VmState::kRunning || state == VmState::kMoving;
}

// Who may have issued writes last. Its storage key is {node, epoch}.
struct Issuer {
  NodeId node = 0;
  SessionId session;
  Epoch epoch;
  bool operator==(const Issuer&) const = default;
  auto fields() { return std::tie(node, session, epoch); }
};

// A record, not a key that vanishes. Changed by compare-and-swap on its revision alone.
struct Ownership {
  NodeId owner = 0;
  SessionId session;
  Epoch epoch;
  VmState state = VmState::kFree;
  NodeId reserved_for = 0;  // kMoving, kFree: who takes it next, if not anybody
  // kFencing, kStarting: whom the owner shuts out. It outlives an interrupted take-over, so that
  // whoever continues repeats the whole fence. Node 0: nobody can have issued since the last clean
  // end. Keys of interrupted take-overs are found on the storage itself.
  Issuer last;
  bool operator==(const Ownership&) const = default;
  auto fields() { return std::tie(owner, session, epoch, state, reserved_for, last); }
};

// Another node's session as last seen: what a fence's evidence is.
struct PeerSession {
  NodeId node = 0;
  SessionRecord record;
  Revision changed;
};

// The last node that may have issued under this record.
constexpr Issuer LastIssuer(const Ownership& record) {
  if (!MayHaveIssued(record.state)) return record.last;
  return {record.owner, record.session, record.epoch};
}

// Of a machine whose disk refuses nobody: whom `me` must see proved off before it may start it, in a cluster
// of that incarnation; 0: nobody. Of what was recorded in an incarnation before, nothing is believed: there
// it may be any of `peers`.
NodeId MustBeProvedOff(NodeId me, const Ownership& record, std::uint64_t incarnation,
                       std::span<const PeerSession> peers);

}  // namespace gemel::cluster
