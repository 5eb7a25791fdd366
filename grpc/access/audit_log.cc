#include "grpc/access/audit_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <span>

#include "base/file_util.h"
#include "base/json_text.h"
#include "base/log.h"
#include "base/thread.h"

namespace gemel::access {
namespace {

Result<UniqueFd> OpenForAppend(const std::string& path) {
  return OpenFile(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW, 0600);
}

std::string TimeText(std::int64_t realtime_ns) {
  const time_t seconds = realtime_ns / 1'000'000'000;
  tm utc{};
  gmtime_r(&seconds, &utc);
  char text[40];
  const std::size_t length = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
  return fmt::format("{}.{:06}Z", std::string_view(text, length),
                     realtime_ns % 1'000'000'000 / 1000);
}

// Long messages and names of a peer's making must not fill the disk.
std::string_view Shortened(std::string_view text) { return text.substr(0, 1024); }

}  // namespace

std::string_view CodeName(Code code) {
  static constexpr std::array<std::string_view, 17> kNames = {"OK",
                                                              "CANCELLED",
                                                              "UNKNOWN",
                                                              "INVALID_ARGUMENT",
                                                              "DEADLINE_EXCEEDED",
                                                              "NOT_FOUND",
                                                              "ALREADY_EXISTS",
                                                              "PERMISSION_DENIED",
                                                              "RESOURCE_EXHAUSTED",
                                                              "FAILED_PRECONDITION",
                                                              "ABORTED",
                                                              "OUT_OF_RANGE",
                                                              "UNIMPLEMENTED",
                                                              "INTERNAL",
                                                              "UNAVAILABLE",
                                                              "DATA_LOSS",
                                                              "UNAUTHENTICATED"};
  const auto index = static_cast<std::size_t>(code);
  return index < kNames.size() ? kNames[index] : "UNKNOWN";
}

std::string FormatAuditLine(const AuditRecord& record, std::int64_t realtime_ns) {
  const auto quoted = [](std::string_view text) { return JsonQuoted(Shortened(text)); };
  return fmt::format(
      R"({{"time":"{}","who":{},"from":{},"method":{},"resource":{},"outcome":"{}","message":{},)"
      R"("request_id":{}}})"
      "\n",
      TimeText(realtime_ns), quoted(record.caller.name), quoted(record.caller.address),
      quoted(record.method), quoted(record.resource), CodeName(record.outcome),
      quoted(record.message), quoted(record.request_id));
}

Result<std::unique_ptr<AuditLog>> AuditLog::Open(const std::string& path, const Clock* clock) {
  std::unique_ptr<AuditLog> log(new AuditLog(path, clock));
  auto file = OpenForAppend(path);
  if (!file) return WithContext(std::move(file).error(), "audit log");
  {
    const MutexLock lock(log->mutex_);
    log->file_ = *std::move(file);
  }
  ASSIGN_OR_RETURN(log->syncer_, StartThread("audit-sync", [raw = log.get()] { raw->SyncLoop(); }));
  return log;
}

AuditLog::~AuditLog() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  if (syncer_.joinable()) syncer_.join();
}

Status AuditLog::ReopenIfMovedLocked() {
  struct stat ours{};
  struct stat named{};
  const bool same = file_ && fstat(file_.get(), &ours) == 0 && stat(path_.c_str(), &named) == 0 &&
                    ours.st_ino == named.st_ino && ours.st_dev == named.st_dev;
  if (same) return {};
  if (file_) fdatasync(file_.get());
  torn_ = false;
  ASSIGN_OR_RETURN(file_, OpenForAppend(path_));
  return {};
}

Status AuditLog::Append(const AuditRecord& record) {
  std::string line = FormatAuditLine(record, clock_->RealtimeNow());
  const MutexLock lock(mutex_);
  auto written = ReopenIfMovedLocked();
  if (written) {
    if (torn_) line.insert(line.begin(), '\n');
    written = WriteAll(file_.get(), std::as_bytes(std::span(line)));
    torn_ = !written;
  }
  if (!written) {
    LOG(kError, "access", "audit log: {}: {}; not recorded: {}", path_, written.error().message,
        line.substr(0, line.size() - 1));
    return WithContext(std::move(written).error(), "audit log");
  }
  dirty_ = true;
  wake_.notify_one();
  return {};
}

void AuditLog::SyncLoop() noexcept {
  mutex_.Lock();
  while (true) {
    while (!dirty_ && !stopping_) wake_.wait(mutex_);
    if (!dirty_) break;
    dirty_ = false;
    // A copy: the file may be replaced while this one is synced.
    const UniqueFd file(fcntl(file_.get(), F_DUPFD_CLOEXEC, 0));
    mutex_.Unlock();
    if (file && fdatasync(file.get()) != 0)
      LOG(kError, "access", "audit log: {}: fdatasync: {}", path_, strerror(errno));
    mutex_.Lock();
  }
  mutex_.Unlock();
}

}  // namespace gemel::access
