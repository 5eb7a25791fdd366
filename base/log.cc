#include "base/log.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <climits>

#include "base/clock.h"
#include "base/log_sink.h"

namespace gemel {
namespace {

constexpr std::int64_t kWindowMs = 5000;
constexpr std::uint32_t kLinesAWindow = 10;

struct LogSettings {
  std::atomic<int> fd{STDERR_FILENO};
  std::atomic<LogLevel> level{LogLevel::kInfo};
  std::atomic<LogSink> sink{nullptr};
  std::string name;
};

LogSettings& Settings() {
  static LogSettings settings;
  return settings;
}

std::string& RequestOfThread() {
  thread_local std::string id;
  return id;
}

std::string_view LevelName(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarning:
      return "warning";
    case LogLevel::kError:
      return "error";
  }
  return "error";
}

}  // namespace

// A pipe that polls writable takes PIPE_BUF bytes at once.
void WriteUnlessFull(int fd, std::string_view text) {
  pollfd ready{fd, POLLOUT, 0};
  if (poll(&ready, 1, 0) == 0) return;
  [[maybe_unused]] const ssize_t n =
      write(fd, text.data(), std::min<std::size_t>(text.size(), PIPE_BUF));
}

void SetLogFd(int fd) { Settings().fd = fd; }
void SetLogSink(LogSink sink) { Settings().sink = sink; }
LogRequest::LogRequest(std::string id) : before_(std::exchange(RequestOfThread(), std::move(id))) {}
LogRequest::~LogRequest() { RequestOfThread() = std::move(before_); }
void SetLogLevel(LogLevel level) { Settings().level = level; }
void SetLogName(std::string name) { Settings().name = std::move(name); }
bool LogEnabled(LogLevel level) {
  return level >= Settings().level.load(std::memory_order_relaxed);
}

bool LogLimiter::Admit(std::int64_t now_ms, std::uint32_t* suppressed) {
  *suppressed = 0;
  std::int64_t start = window_start_ms_.load(std::memory_order_relaxed);
  if (now_ms - start >= kWindowMs && window_start_ms_.compare_exchange_strong(start, now_ms)) {
    in_window_.store(0, std::memory_order_relaxed);
  }
  if (in_window_.fetch_add(1, std::memory_order_relaxed) >= kLinesAWindow) {
    suppressed_.fetch_add(1, std::memory_order_relaxed);
    return false;
  }
  *suppressed = suppressed_.exchange(0, std::memory_order_relaxed);
  return true;
}

void WriteLog(LogLevel level, std::string_view component, std::string_view message) {
  const LogSettings& settings = Settings();
  const std::string& request = RequestOfThread();
  const LogSink sink = settings.sink.load();
  if (sink != nullptr && sink({level, component, message, request})) return;
  const std::string suffix = request.empty() ? "" : fmt::format(" request_id={}", request);
  const std::string line =
      settings.name.empty()
          ? fmt::format("{} {}: {}{}\n", LevelName(level), component, message, suffix)
          : fmt::format("{} {}: {}: {}{}\n", LevelName(level), settings.name, component, message,
                        suffix);
  WriteUnlessFull(settings.fd.load(), line);
}

void WriteLimitedLog(LogLimiter& limiter, LogLevel level, std::string_view component,
                     std::string_view message) {
  std::uint32_t suppressed = 0;
  if (!limiter.Admit(MonotonicMs(), &suppressed)) return;
  if (suppressed == 0) return WriteLog(level, component, message);
  WriteLog(level, component, fmt::format("{} ({} like it not shown)", message, suppressed));
}

}  // namespace gemel
