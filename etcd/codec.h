// cluster's transactions and records as etcd's keys and values.
//
//   /gemel/nodes/incarnation      /gemel/nodes/beat/NODE      /gemel/nodes/session/NODE
//   /gemel/vms/VM                 ownership records
//
// Numbers are decimal without leading zeros; values are proto/internal/cluster.proto. What is read was
// written by others, perhaps by a later version of this program: every Decode checks all of it, and
// what cannot be read is an error, never a default.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "cluster/records.h"
#include "cluster/txn.h"
#include "etcd/kv.h"

namespace gemel::etcd {

// What of the cluster somebody follows.
enum class Scope : std::uint8_t {
  kNodes,  // incarnation, sessions, heartbeats: enough to keep a session
  kAll,    // ownership of machines as well
};
KeyRange RangeOf(Scope scope);

std::string EncodeKey(const cluster::Key& key);
// nullopt for what is not one of ours, which later versions may add.
std::optional<cluster::Key> DecodeKey(std::string_view key);

std::string EncodeIncarnation(std::uint64_t number);
std::string EncodeSession(const cluster::SessionRecord& record);
std::string EncodeBeat(std::uint64_t count);
std::string EncodeOwnership(const cluster::Ownership& record);

// kInvalidArgument says what is wrong; a format of later versions is kUnimplemented.
Result<std::uint64_t> DecodeIncarnation(std::string_view value);
Result<cluster::SessionRecord> DecodeSession(std::string_view value);
Result<std::uint64_t> DecodeBeat(std::string_view value);
Result<cluster::Ownership> DecodeOwnership(std::string_view value);

KvTxn EncodeTxn(const cluster::Txn& txn);

}  // namespace gemel::etcd
