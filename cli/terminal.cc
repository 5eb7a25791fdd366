#include "cli/terminal.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

namespace gemel::cli {
namespace {

// Waits until the pipe ends; a byte in it says that the terminal is already as it was. Runs after
// fork in what may be a threaded process: async-signal-safe calls alone. Its own process group and
// blocked signals keep it alive when a whole job is killed; tcsetattr from that background group
// needs SIGTTOU blocked too.
[[noreturn]] void Keep(int pipe, int terminal, const termios& original) {
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, nullptr);
  setpgid(0, 0);
  dup2(pipe, 0);
  dup2(terminal, 1);
  close_range(2, ~0U, 0);
  char done = 0;
  ssize_t n = 0;
  while ((n = read(0, &done, 1)) < 0 && errno == EINTR) {
  }
  if (n == 0) tcsetattr(1, TCSANOW, &original);
  _exit(0);
}

}  // namespace

bool Terminal::is_terminal() const { return isatty(fd_) == 1; }

// Job control is the controlling terminal's; any other is ours as soon as it is open.
bool Terminal::in_foreground() const {
  const pid_t group = tcgetpgrp(fd_);
  return group == getpgrp() || (group < 0 && errno == ENOTTY && is_terminal());
}

void Terminal::StartKeeper() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return;
  // Above the descriptors that Keep moves things to, wherever the caller's own are.
  UniqueFd reading(fcntl(ends[0], F_DUPFD_CLOEXEC, 10));
  UniqueFd terminal(fcntl(fd_, F_DUPFD_CLOEXEC, 10));
  close(ends[0]);
  keeper_.Reset(ends[1]);
  if (!reading || !terminal) return;
  keeper_pid_ = fork();
  if (keeper_pid_ == 0) Keep(reading.get(), terminal.get(), original_);
  // Here too: it must be out of our group before the terminal is changed, and it may not have run yet.
  if (keeper_pid_ > 0) setpgid(keeper_pid_, keeper_pid_);
}

void Terminal::EnterRaw() {
  if (!is_terminal() || !in_foreground()) return;
  if (!saved_) {
    if (tcgetattr(fd_, &original_) != 0) return;
    saved_ = true;
    StartKeeper();
  }
  termios raw = original_;
  cfmakeraw(&raw);
  raw.c_oflag = original_.c_oflag;
  // Never TCSADRAIN: to wait for output that nobody reads would be to wait for ever.
  raw_ = tcsetattr(fd_, TCSANOW, &raw) == 0;
}

void Terminal::Restore() {
  if (!raw_) return;
  raw_ = false;
  if (in_foreground()) tcsetattr(fd_, TCSANOW, &original_);
}

Terminal::~Terminal() {
  Restore();
  if (!keeper_) return;
  const char done = 1;
  [[maybe_unused]] const ssize_t written = write(keeper_.get(), &done, 1);
  keeper_.Reset();
  if (keeper_pid_ > 0) waitpid(keeper_pid_, nullptr, 0);
}

}  // namespace gemel::cli
