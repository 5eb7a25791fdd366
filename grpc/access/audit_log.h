// The record of who did what: one JSON object a line, appended, never rewritten.
//
//   {"time":"2026-11-22T22:31:04.123456Z","who":"cert:alice","from":"192.0.2.1:50312",
//    "method":"/gemel.v1.VirtualMachines/Start","resource":"projects/web/vms/db","outcome":"OK",
//    "message":"","request_id":"41f0..."}
//
// A line is in the file before the call is answered, and so survives the daemon; it is on the disk
// shortly after (a thread syncs; many lines share one sync), and so survives a power cut but for
// the last moments. If the file is moved away (logrotate) or removed, the next line begins a new one.
#pragma once
#include <condition_variable>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

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
  // Fails if the file cannot be appended to: a daemon without its audit log must not serve.
  static Result<std::unique_ptr<AuditLog>> Open(const std::string& path, const Clock* clock);
  ~AuditLog();

  // Fails with the reason if the line could not be written (a full disk); the log says so, too, and
  // the next call's line is tried afresh.
  Status Append(const AuditRecord& record);

 private:
  AuditLog(std::string path, const Clock* clock) : path_(std::move(path)), clock_(clock) {}
  Status ReopenIfMovedLocked() REQUIRES(mutex_);
  void SyncLoop() noexcept;

  const std::string path_;
  const Clock* const clock_;
  Mutex mutex_;
  std::condition_variable_any wake_;
  UniqueFd file_ GUARDED_BY(mutex_);
  bool torn_ GUARDED_BY(mutex_) = false;  // the last write left a piece of a line
  bool dirty_ GUARDED_BY(mutex_) = false;
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::thread syncer_;
};

}  // namespace gemel::access
