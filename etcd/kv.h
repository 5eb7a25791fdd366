// etcd as this project uses it: a map of bytes with a revision, transactions on it, and following its
// changes. The seam below which gRPC is (etcd/grpc_kv.h), and what tests fake.
//
// Everything is called on the owner's EventLoop thread, never blocks, and calls back on that thread,
// later. No call is ever repeated by itself: what had no answer may have been done, or may be yet.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"

namespace gemel::etcd {

// Keys from `first` up to and without `end`.
struct KeyRange {
  std::string first;
  std::string end;
  bool operator==(const KeyRange&) const = default;
};

struct KeyValue {
  std::string key;
  std::string value;
  std::int64_t changed = 0;  // etcd: mod_revision
  bool operator==(const KeyValue&) const = default;
};

// A put, or with `deleted` the end of a key (then `value` is empty).
struct KeyEvent {
  KeyValue key_value;
  bool deleted = false;
};

// If the last change of each key is as said (0: there is no such key), puts and deletes all; else changes
// nothing.
struct KvTxn {
  struct Compare {
    std::string key;
    std::int64_t changed = 0;
    bool operator==(const Compare&) const = default;
  };
  struct Put {
    std::string key;
    std::string value;
    bool operator==(const Put&) const = default;
  };
  std::vector<Compare> compares;
  std::vector<Put> puts;
  std::vector<std::string> deletes;  // keys; one that is not there is none
};

struct KvTxnAnswer {
  bool succeeded = false;
  std::int64_t revision = 0;  // of the store; of what was put, if it succeeded
};

struct KvSnapshot {
  std::int64_t revision = 0;  // of the store, as a majority has it
  std::vector<KeyValue> keys;
};

// Keeps a Follow going; destroying it ends it, and no callback comes after that.
class Following {
 public:
  virtual ~Following() = default;
};

class Kv {
 public:
  struct Follower {
    // Once, first: all keys of the range, read from a majority.
    std::function<void(KvSnapshot)> on_snapshot;
    // What changed since, in order of revisions, no revision in two calls. Empty: the stream lives; that may
    // come before the snapshot, too, when there is much to read.
    std::function<void(std::vector<KeyEvent>)> on_events;
    // Last: why it ended. Follow anew; the next one asks another member.
    std::function<void(const Error&)> on_end;
  };

  virtual ~Kv() = default;
  // An error if it is not known whether it was done; it comes after the call deadline at the latest.
  virtual void Commit(KvTxn txn, std::function<void(Result<KvTxnAnswer>)> done) = 0;
  // A stream that is silent for ever does not end by itself: the caller watches the time.
  virtual std::unique_ptr<Following> Follow(KeyRange range, Follower follower) = 0;
};

}  // namespace gemel::etcd
