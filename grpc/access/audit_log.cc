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

// The name of a new file is on the disk as well when this returns.
Result<UniqueFd> OpenForAppend(const std::string& path) {
  ASSIGN_OR_RETURN(UniqueFd file, OpenFile(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW, 0600));
  const auto folder = OpenFile(path.substr(0, path.rfind('/') + 1), O_RDONLY | O_DIRECTORY);
  if (folder) static_cast<void>(fsync(folder->get()));
  return file;
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
  const std::string via =
      record.caller.via.empty() ? "" : fmt::format(R"("via":{},)", quoted(record.caller.via));
  return fmt::format(
      R"({{"time":"{}","who":{},"from":{},{}"method":{},"resource":{},"outcome":"{}","message":{},)"
      R"("request_id":{}}})"
      "\n",
      TimeText(realtime_ns), quoted(record.caller.name), quoted(record.caller.address), via,
      quoted(record.method), quoted(record.resource), CodeName(record.outcome),
      quoted(record.message), quoted(record.request_id));
}

int AuditLog::DataSync(int fd) { return fdatasync(fd); }

Result<std::unique_ptr<AuditLog>> AuditLog::Open(const std::string& path, const Clock* clock,
                                                 Sync sync) {
  std::unique_ptr<AuditLog> log(new AuditLog(path, clock, sync));
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
  if (file_) sync_(file_.get());
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
  ++appended_;
  wake_.notify_one();
  return {};
}

void AuditLog::WhenDurable(std::function<void()> done) {
  {
    const MutexLock lock(mutex_);
    if (durable_ < appended_) {
      waiting_.emplace_back(appended_, std::move(done));
      return;
    }
  }
  done();
}

void AuditLog::TellDurable() {
  while (!waiting_.empty() && waiting_.front().first <= durable_) {
    const std::function<void()> done = std::move(waiting_.front().second);
    waiting_.pop_front();
    mutex_.Unlock();
    done();
    mutex_.Lock();
  }
}

void AuditLog::SyncLoop() noexcept {
  mutex_.Lock();
  while (true) {
    while (durable_ == appended_ && !stopping_) wake_.wait(mutex_);
    if (durable_ == appended_) break;
    const std::uint64_t covered = appended_;
    // A copy: the file may be replaced while this one is synced.
    const UniqueFd file(fcntl(file_.get(), F_DUPFD_CLOEXEC, 0));
    mutex_.Unlock();
    if (file && sync_(file.get()) != 0)
      LOG(kError, "access", "audit log: {}: fdatasync: {}", path_, strerror(errno));
    mutex_.Lock();
    durable_ = covered;
    TellDurable();
  }
  mutex_.Unlock();
}

}  // namespace gemel::access
