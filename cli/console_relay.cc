#include "cli/console_relay.h"

#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>
#include <span>
#include <utility>

#include "base/check.h"
#include "base/thread.h"

namespace gemel::cli {
namespace {

constexpr std::size_t kBlock = 4096;

// A full non-blocking stdout (somebody else's choice: the description is shared) is waited for.
bool WriteToStdout(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = write(STDOUT_FILENO, bytes.data(), bytes.size());
    if (n >= 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(n));
    } else if (errno == EAGAIN) {
      pollfd poll_fd{STDOUT_FILENO, POLLOUT, 0};
      poll(&poll_fd, 1, -1);
    } else if (errno != EINTR) {
      return false;
    }
  }
  return true;
}

}  // namespace

void ConsoleOutput::Shared::Tell(const std::function<void()>& task) {
  const MutexLock lock(mutex);
  if (loop != nullptr) loop->Post(task);
}

void ConsoleOutput::Copy(Shared& shared, int pipe, const std::function<void()>& lost) {
  char block[kBlock];
  bool writable = true;
  while (true) {
    const ssize_t n = read(pipe, block, sizeof block);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    if (!writable) continue;
    writable = WriteToStdout(std::as_bytes(std::span(block, static_cast<std::size_t>(n))));
    if (!writable) shared.Tell(lost);
  }
}

ConsoleOutput::ConsoleOutput(UniqueFd pipe, EventLoop* loop, std::function<void()> done,
                             std::function<void()> lost)
    : shared_(std::make_shared<Shared>()) {
  {
    const MutexLock lock(shared_->mutex);
    shared_->loop = loop;
  }
  auto thread = StartThread("console", [shared = shared_, pipe = pipe.Release(),
                                        done = std::move(done), lost = std::move(lost)] {
    const UniqueFd owner(pipe);
    Copy(*shared, pipe, lost);
    shared->Tell(done);
    shared->finished = true;
  });
  CHECK(thread.has_value());
  thread_ = std::move(*thread);
}

ConsoleOutput::~ConsoleOutput() {
  {
    const MutexLock lock(shared_->mutex);
    shared_->loop = nullptr;
  }
  if (shared_->finished)
    thread_.join();
  else
    thread_.detach();
}

ConsoleInput::ConsoleInput(Terminal* terminal, UniqueFd pipe, EventLoop* loop, EscapeMenu menu,
                           Act act)
    : terminal_(terminal),
      pipe_(std::move(pipe)),
      loop_(loop),
      menu_(std::move(menu)),
      act_(std::move(act)) {}

ConsoleInput::~ConsoleInput() { Suspend(); }

void ConsoleInput::Resume() {
  suspended_ = false;
  UpdateWatches();
}

void ConsoleInput::Suspend() {
  suspended_ = true;
  UpdateWatches();
}

// Watches whichever side is the next to move.
void ConsoleInput::UpdateWatches() {
  const bool want_pipe = !suspended_ && !pending_.empty();
  const bool want_stdin = !suspended_ && !ended_ && (pending_.empty() || terminal_->is_terminal());
  if (!want_pipe && std::exchange(watching_pipe_, false)) loop_->Unwatch(pipe_.get());
  if (want_pipe && !watching_pipe_)
    watching_pipe_ =
        static_cast<bool>(loop_->Watch(pipe_.get(), EPOLLOUT, [this](std::uint32_t) { Flush(); }));
  if (!want_stdin && std::exchange(watching_stdin_, false)) loop_->Unwatch(STDIN_FILENO);
  if (want_stdin && pollable_ && !watching_stdin_)
    watching_stdin_ = pollable_ = static_cast<bool>(
        loop_->Watch(STDIN_FILENO, EPOLLIN, [this](std::uint32_t) { ReadSome(); }));
  if (want_stdin && !pollable_ && !std::exchange(pumping_, true))
    loop_->Post([this] { ReadUntilFull(); });
}

void ConsoleInput::ReadUntilFull() {
  while (!suspended_ && !ended_ && pending_.empty()) ReadSome();
  pumping_ = false;
}

void ConsoleInput::ReadSome() {
  char block[kBlock];
  const ssize_t n = read(STDIN_FILENO, block, sizeof block);
  if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
  // The pipe stays open at the end: that the user has no more to say does not end the guest's line.
  if (n <= 0) {
    ended_ = true;
    return UpdateWatches();
  }
  const std::string_view bytes(block, static_cast<std::size_t>(n));
  if (terminal_->is_terminal())
    TakeFromTerminal(bytes);
  else
    pending_.append(bytes);
  Flush();
}

void ConsoleInput::TakeFromTerminal(std::string_view typed) {
  for (const char byte : typed) {
    const EscapeMenu::Step step = menu_.Feed(byte);
    if (step.action == EscapeMenu::Action::kToGuest) {
      if (pending_.size() < kBlock)
        pending_ += step.byte;
      else [[maybe_unused]]
        const ssize_t bell = write(STDERR_FILENO, "\a", 1);
    } else if (step.action != EscapeMenu::Action::kNone) {
      act_(step);
    }
  }
}

void ConsoleInput::Flush() {
  while (!pending_.empty()) {
    const ssize_t n = write(pipe_.get(), pending_.data(), pending_.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    if (n < 0) {  // gemel-vmm is gone
      ended_ = true;
      pending_.clear();
      break;
    }
    pending_.erase(0, static_cast<std::size_t>(n));
  }
  UpdateWatches();
}

}  // namespace gemel::cli
