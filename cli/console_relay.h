// Carries the guest's serial port between this process's stdin and stdout and two pipes to
// gemel-vmm.
//
// Nothing is buffered beyond the pipes and one small block each way: a slow reader of stdout fills
// the pipe, and the guest's UART then stays busy. Input stops being read while the guest does not
// take it; but from a terminal it is read on and thrown away with a bell, since Ctrl-] must always
// be heard.
#pragma once
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "base/event_loop.h"
#include "base/mutex.h"
#include "base/unique_fd.h"
#include "cli/escape_menu.h"
#include "cli/terminal.h"

namespace gemel::cli {

// Output: a thread of its own, because a write to stdout may block for as long as its reader likes.
class ConsoleOutput {
 public:
  // Reads `pipe` to its end, then posts `done` to `loop`. The bytes that stdout no longer takes are
  // thrown away, so that the guest goes on; `lost` is posted once then.
  ConsoleOutput(UniqueFd pipe, EventLoop* loop, std::function<void()> done,
                std::function<void()> lost);
  // Leaves the thread alone if it is still writing: the process is about to end.
  ~ConsoleOutput();

 private:
  // What outlives this object if the thread has to be left alone.
  struct Shared {
    Mutex mutex;
    EventLoop* loop GUARDED_BY(mutex) = nullptr;  // null: nobody is to be told any more
    std::atomic<bool> finished = false;
    void Tell(const std::function<void()>& task) EXCLUDES(mutex);
  };
  static void Copy(Shared& shared, int pipe, const std::function<void()>& lost);

  std::shared_ptr<Shared> shared_;
  std::thread thread_;
};

// Input, on the loop's thread.
class ConsoleInput {
 public:
  using Act = std::function<void(const EscapeMenu::Step&)>;

  // `pipe` is non-blocking. `act` is told what the user asks of gemel; only a terminal has the
  // menu.
  ConsoleInput(Terminal* terminal, UniqueFd pipe, EventLoop* loop, EscapeMenu menu, Act act);
  ~ConsoleInput();

  // Starts or goes on reading stdin; nothing if it has ended.
  void Resume();
  // Leaves stdin alone (in the background, or about to stop).
  void Suspend();

 private:
  void UpdateWatches();
  void ReadUntilFull();
  void ReadSome();
  void TakeFromTerminal(std::string_view typed);
  void Flush();

  Terminal* const terminal_;
  UniqueFd pipe_;
  EventLoop* const loop_;
  EscapeMenu menu_;
  const Act act_;
  std::string pending_;  // read and not yet taken by the pipe
  bool suspended_ = true;
  bool pollable_ = true;  // a regular file is always ready and cannot be watched
  bool pumping_ = false;  // ReadUntilFull is posted or running
  bool watching_stdin_ = false;
  bool watching_pipe_ = false;
  bool ended_ = false;
};

}  // namespace gemel::cli
