// Where log lines go beside a descriptor, and whose call they are about: for a program that has a
// log of its own to write to, and calls.
#pragma once
#include <string>
#include <string_view>
#include <utility>

#include "base/log.h"

namespace gemel {

struct LogLine {
  LogLevel level;
  std::string_view component;
  std::string_view message;
  std::string_view request_id;  // empty: of no call
};

// Called on any thread, several at once. False: it could not take the line, which then goes to the
// descriptor. It may not wait.
using LogSink = bool (*)(const LogLine& line);
// Process-wide; set once at start, before other threads run.
void SetLogSink(LogSink sink);

// Lines that this thread writes while it lives carry the id of a call; the innermost one's.
class LogRequest {
 public:
  explicit LogRequest(std::string id);
  ~LogRequest();
  LogRequest(const LogRequest&) = delete;
  LogRequest& operator=(const LogRequest&) = delete;

 private:
  std::string before_;
};

}  // namespace gemel
