// The record of who did what: one JSON object a line, appended, never rewritten.
//
//   {"time":"2026-11-22T22:31:04.123456Z","who":"cert:alice","from":"192.0.2.1:50312",
//    "method":"/gemel.v1.VirtualMachines/Start","resource":"projects/web/vms/db","outcome":"OK",
//    "message":"","request_id":"41f0..."}
//
// A call that another node of the cluster passed on has "via":"nodes/b" after "from".
//
// A call is answered once its line is on the disk (WhenDurable), and so no answer outlives its line in
// a power cut. A thread syncs: lines that come while it does share the next sync, so a thousand
// calls at once wait for two. If the file is moved away (logrotate) or removed, the next line begins
// a new one.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "grpc/access/caller.h"

namespace gemel::access {

struct AuditRecord {
  Caller caller;
  std::string method;
  std::string resource;
  Code outcome = Code::kOk;
  std::string message;  // of an error
  std::string request_id;
};

// "OK", "PERMISSION_DENIED": gRPC's names.
std::string_view CodeName(Code code);

// The line with its line feed. Pure.
std::string FormatAuditLine(const AuditRecord& record, std::int64_t realtime_ns);

// Any thread.
class AuditLog {
 public:
  using Sync = int (*)(int fd);  // as fdatasync

  // Fails if the file cannot be appended to: a daemon without its audit log must not serve.
  static Result<std::unique_ptr<AuditLog>> Open(const std::string& path, const Clock* clock,
                                                Sync sync = DataSync);
  ~AuditLog();

  // Fails with the reason if the line could not be written (a full disk); the log says so, too, and
  // the next call's line is tried afresh.
  Status Append(const AuditRecord& record);
  // Calls `done` once all lines that are in the file are on the disk: now, or on the thread that syncs
  // (so it must not wait for anything). If that fails, the daemon's log says so, and `done` is called
  // all the same, since the calls have happened. All are called before the log is destroyed.
  void WhenDurable(std::function<void()> done);

 private:
  AuditLog(std::string path, const Clock* clock, Sync sync)
      : path_(std::move(path)), clock_(clock), sync_(sync) {}
  static int DataSync(int fd);
  Status ReopenIfMovedLocked() REQUIRES(mutex_);
  void TellDurable() REQUIRES(mutex_);
  void SyncLoop() noexcept;

  const std::string path_;
  const Clock* const clock_;
  const Sync sync_;
  Mutex mutex_;
  std::condition_variable_any wake_;
  UniqueFd file_ GUARDED_BY(mutex_);
  bool torn_ GUARDED_BY(mutex_) = false;           // the last write left a piece of a line
  std::uint64_t appended_ GUARDED_BY(mutex_) = 0;  // lines
  std::uint64_t durable_ GUARDED_BY(mutex_) = 0;   // of them, those that a sync was for
  // What waits for so many to be durable, in that order.
  std::deque<std::pair<std::uint64_t, std::function<void()>>> waiting_ GUARDED_BY(mutex_);
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::thread syncer_;
};

}  // namespace gemel::access
