// All that etcd says of the cluster at one revision, kept up to date by following it. Pure.
#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "cluster/records.h"
#include "cluster/txn.h"
#include "etcd/kv.h"

namespace gemel::etcd {

// A record and its key's last change; 0 and a default value if there is no such key.
template <class T>
struct Entry {
  T value{};
  cluster::Revision changed;
  // Not empty: the key is there, and this version cannot read it. Nothing may be done by `value`.
  std::string unreadable;
};

struct NodeEntry {
  Entry<cluster::SessionRecord> session;
  Entry<std::uint64_t> beat;
};

// What is new in a View since the one before.
struct ViewChange {
  bool whole = false;              // everything may be: it was read anew
  std::vector<cluster::Key> keys;  // else these
  // Heartbeats and nothing else: nothing follows for machines.
  bool only_beats() const;
  // Or records of machines: what is of one concerns no other.
  bool only_work() const;
};

class View {
 public:
  cluster::Revision store() const { return store_; }
  // 0: this store belongs to no cluster yet.
  const Entry<std::uint64_t>& incarnation() const { return incarnation_; }
  const std::map<cluster::NodeId, NodeEntry>& nodes() const { return nodes_; }
  const std::map<std::uint32_t, Entry<cluster::Ownership>>& vms() const { return vms_; }
  // A node of which nothing is known has a default entry.
  const NodeEntry& node(cluster::NodeId id) const;

  void Reset(const KvSnapshot& snapshot);
  // Whole revisions. Keys that are none of ours only move the revision on.
  ViewChange Apply(std::span<const KeyEvent> events);

 private:
  void Take(const cluster::Key& key, const KeyEvent& event);

  cluster::Revision store_;
  Entry<std::uint64_t> incarnation_;
  std::map<cluster::NodeId, NodeEntry> nodes_;
  std::map<std::uint32_t, Entry<cluster::Ownership>> vms_;
};

}  // namespace gemel::etcd
