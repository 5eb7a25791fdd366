// The user's terminal in raw mode, and put back as it was however this process ends.
//
// A tiny forked process (the keeper) holds the old settings and the reading end of a pipe: if this
// process dies without a word, by SIGKILL too, the keeper puts the terminal back.
#pragma once
#include <sys/types.h>
#include <termios.h>

#include "base/unique_fd.h"

namespace gemel::cli {

// One thread.
class Terminal {
 public:
  // `fd` is the terminal, or anything else, in which case there is nothing to do. Not owned.
  explicit Terminal(int fd) : fd_(fd) {}
  ~Terminal();
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  bool is_terminal() const;
  // Whether this process is in the terminal's foreground group: nobody else may change or read it.
  bool in_foreground() const;
  bool raw() const { return raw_; }

  // Raw input (every key is the guest's, Ctrl-C too); output is processed as before, so that lines
  // of ours and of gemel-vmm stay lines. Does nothing in the background or without a terminal.
  void EnterRaw();
  // Puts it back as EnterRaw first found it.
  void Restore();

 private:
  void StartKeeper();

  int fd_;
  bool raw_ = false;
  bool saved_ = false;
  termios original_{};
  UniqueFd keeper_;  // writing end of the keeper's pipe
  pid_t keeper_pid_ = -1;
};

}  // namespace gemel::cli
