// Finding and ending processes that are not our children.
#pragma once
#include <sys/types.h>

#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace gemel::hostnet {

struct FoundProcess {
  pid_t pid = 0;
  uid_t user = 0;
  std::string program;   // the one of those asked for that it runs
  UniqueFd pidfd;        // readable once it has ended
  std::string argument;  // the one that begins as asked
};

// Living processes of any of these program files that have an argument with this beginning. What ends
// meanwhile is left out.
Result<std::vector<FoundProcess>> FindProcesses(const std::vector<std::string>& programs,
                                                const std::string& beginning);

// SIGTERM, and SIGKILL if it has not ended after two seconds; returns when it has ended.
Status EndProcess(const FoundProcess& process);

// Runs a program with nothing but stderr (to `errors`, emptied first), waits for its end, and kills
// it after `timeout_ms`. Its exit status, 128 + signal.
Result<int> RunProgram(const std::vector<std::string>& words, const std::string& errors,
                       int timeout_ms);

}  // namespace gemel::hostnet
