// What the core asks of etcd: a transaction that compares revisions of keys and, if all are equal,
// puts. There is no other kind: each rule of the protocol is one of its compares.
#pragma once
#include <array>
#include <cstdint>
#include <tuple>

#include "base/check.h"
#include "cluster/records.h"
#include "cluster/timing.h"

namespace gemel::cluster {

enum class KeyKind : std::uint8_t { kIncarnation, kSession, kBeat, kVm };

struct Key {
  KeyKind kind = KeyKind::kIncarnation;
  std::uint32_t id = 0;  // the node, or the machine
  bool operator==(const Key&) const = default;
  auto fields() { return std::tie(kind, id); }
};

// That the last change of `key` was `revision` (etcd: Compare.MOD, EQUAL).
struct Compare {
  Key key;
  Revision revision;
  bool operator==(const Compare&) const = default;
  auto fields() { return std::tie(key, revision); }
};

struct Txn {
  enum class Put : std::uint8_t { kNone, kBeat, kSession, kSessionAndBeat, kVm };
  std::array<Compare, 6> compares{};
  std::uint32_t compare_count = 0;
  Put put = Put::kNone;
  std::uint32_t put_id = 0;  // whose beat or session, or which machine
  SessionRecord session{};
  std::uint64_t beat = 0;
  Ownership vm{};
  auto fields() { return std::tie(compares, compare_count, put, put_id, session, vm); }

  void If(KeyKind kind, std::uint32_t id, Revision revision) {
    for (std::uint32_t i = 0; i < compare_count; ++i)
      if (compares[i] == Compare{{kind, id}, revision}) return;
    CHECK(compare_count < compares.size());
    compares[compare_count++] = {{kind, id}, revision};
  }
};

// Tells an answer to this request from one to an earlier one.
struct RequestId {
  std::uint64_t value = 0;
  constexpr auto operator<=>(const RequestId&) const = default;
};

enum class TxnResult : std::uint8_t { kSucceeded, kRefused, kUnknown };

// kUnknown is every error and every silence: the transaction may have been committed, or may still be.
struct TxnReply {
  TxnResult result = TxnResult::kUnknown;
  Revision revision;  // of the store, unless kUnknown; of what was put, if kSucceeded
};

// A machine has one transaction outstanding, or none.
struct Outstanding {
  bool waiting = false;
  RequestId id;
  Time sent_at = kNever;
  Revision seen;  // the highest that this node had seen then: no answer may be of before that
  auto fields() { return std::tie(waiting, id, sent_at, seen); }

  void Send(Time now, Revision highest) {
    waiting = true;
    ++id.value;
    sent_at = now;
    seen = highest;
  }
  // Forgets what has had no answer for so long. A later one finds no one.
  void GiveUp(Time now, Time after) {
    if (waiting && now - sent_at >= after) End();
  }
  bool Matches(RequestId answered) const { return waiting && id == answered; }
  void End() {
    waiting = false;
    sent_at = kNever;
    seen = {};
  }
};

}  // namespace gemel::cluster
