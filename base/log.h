// Log lines to one inherited descriptor (stderr unless SetLogFd says otherwise), one write(2) a
// line:
//   warning web: blk0: broken ring: avail index 700 is 512 ahead of 188
//
// LOG is rate-limited at each place it stands, because most places can be reached by a guest;
// LOG_UNLIMITED is for places that only the host reaches. Levels: docs/logging.md.
// Any thread. A reader that does not read loses lines and never holds a thread up.
#pragma once
#include <fmt/format.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace gemel {

enum class LogLevel : std::uint8_t { kDebug, kInfo, kWarning, kError };

// Process-wide; set once at start, before other threads run.
void SetLogFd(int fd);
void SetLogLevel(LogLevel level);
// The VM's name, which every line then carries.
void SetLogName(std::string name);

bool LogEnabled(LogLevel level);

// Lets 10 lines pass in any 5 s; counts the rest and tells the next line that passes.
class LogLimiter {
 public:
  // True if the line may be written; *suppressed is how many were not since the last that was.
  bool Admit(std::int64_t now_ms, std::uint32_t* suppressed);

 private:
  std::atomic<std::int64_t> window_start_ms_{-1'000'000};
  std::atomic<std::uint32_t> in_window_{0};
  std::atomic<std::uint32_t> suppressed_{0};
};

// Writes `text`, at most PIPE_BUF (4096) bytes of it, unless that would wait for a reader: then it
// is lost. For stderr, which nothing may wait for.
void WriteUnlessFull(int fd, std::string_view text);

// Writes the line as it is, without asking a limiter. Use the macros.
void WriteLog(LogLevel level, std::string_view component, std::string_view message);
void WriteLimitedLog(LogLimiter& limiter, LogLevel level, std::string_view component,
                     std::string_view message);

}  // namespace gemel

#define LOG(level, component, ...)                                               \
  do {                                                                           \
    if (::gemel::LogEnabled(::gemel::LogLevel::level)) {                         \
      static ::gemel::LogLimiter log_limiter;                                    \
      ::gemel::WriteLimitedLog(log_limiter, ::gemel::LogLevel::level, component, \
                               ::fmt::format(__VA_ARGS__));                      \
    }                                                                            \
  } while (false)

#define LOG_UNLIMITED(level, component, ...)                                              \
  do {                                                                                    \
    if (::gemel::LogEnabled(::gemel::LogLevel::level))                                    \
      ::gemel::WriteLog(::gemel::LogLevel::level, component, ::fmt::format(__VA_ARGS__)); \
  } while (false)
