// A program of ours that gemel or gemeld starts beside itself.
#pragma once
#include <signal.h>
#include <sys/types.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace gemel::launch {

// Where a program is: `environment` (for tests) if that is set, else beside this executable, else in
// the folder of a build tree that has it, else where it is installed (../libexec/gemel). kNotFound
// names the places.
Result<std::string> FindProgram(std::string_view name, std::string_view build_folder,
                                const char* environment);

// What a child has of ours: `in` or /dev/null as standard input, `out` or /dev/null as standard output, `err`
// or our own stderr, and `fds` from 3 on. Nothing else, whatever our parent has left open.
struct ChildFds {
  UniqueFd in;
  UniqueFd out;
  UniqueFd err;
  std::vector<UniqueFd> fds;
};

// Move-only. Killed and reaped when destroyed, unless let go. One thread.
class ChildProcess {
 public:
  // Starts `path` with `words` (the first is its name) in a session of its own: the terminal's
  // signals are not for it. Our copies of `fds` are closed.
  static Result<ChildProcess> Spawn(const std::string& path, std::vector<std::string> words,
                                    ChildFds fds);
  ChildProcess(ChildProcess&&) = default;
  ChildProcess& operator=(ChildProcess&&) = delete;
  ~ChildProcess();

  pid_t pid() const { return pid_; }
  // Not reaped yet.
  bool alive() const { return static_cast<bool>(pidfd_); }
  // Readable once it has ended.
  int pidfd() const { return pidfd_.get(); }
  void Kill() const { Signal(SIGKILL); }
  void Signal(int number) const;
  // It, and what it has begun in its session's first process group.
  void KillGroup() const;
  // Waits for its end; how it was, as waitpid tells it. REQUIRES: alive().
  int Reap();
  // It goes on without us; the pidfd, by which its end can be seen and it can be reaped
  // (waitid, P_PIDFD). REQUIRES: alive().
  UniqueFd LetGo() { return std::move(pidfd_); }

 private:
  ChildProcess(pid_t pid, UniqueFd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}

  pid_t pid_;
  UniqueFd pidfd_;  // empty once reaped
};

// "ended with status 1", "was killed by signal 9 (Killed)".
std::string DescribeEnd(int wait_status);

}  // namespace gemel::launch
