#include "grpc/fence_run.h"

#include <fcntl.h>
#include <pwd.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "base/file_util.h"
#include "base/log.h"
#include "base/timer.h"
#include "grpc/api_error.h"
#include "launch/child_process.h"

namespace gemel::daemon {
namespace {

constexpr char kSetpriv[] = "/usr/bin/setpriv";

Result<std::string> ReadSecret(const std::string& path) {
  if (path.empty()) return std::string();
  ASSIGN_OR_RETURN(const UniqueFd file, OpenFile(path, O_RDONLY | O_NOFOLLOW));
  struct stat facts{};
  if (fstat(file.get(), &facts) != 0) return ErrnoError(errno, path);
  if ((facts.st_mode & 077) != 0 || !S_ISREG(facts.st_mode))
    return FailedPrecondition("secret_file {}: others may read it (mode {:o}): chmod 600", path,
                              facts.st_mode & 07777);
  std::array<char, 1024> bytes{};
  const ssize_t n = read(file.get(), bytes.data(), bytes.size());
  if (n < 0) return ErrnoError(errno, path);
  const std::string text(bytes.data(), static_cast<std::size_t>(n));
  return text.substr(0, text.find('\n'));
}

struct Pipe {
  UniqueFd read;
  UniqueFd write;
};
Result<Pipe> MakePipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return ErrnoError(errno, "pipe");
  return Pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

// The user, with no way back, and nothing of our environment; it ends with us.
Result<std::vector<std::string>> WordsFor(const FenceAgent& agent) {
  passwd entry{};
  passwd* found = nullptr;
  std::array<char, 4096> bytes{};
  if (getpwnam_r(agent.user.c_str(), &entry, bytes.data(), bytes.size(), &found) != 0 ||
      found == nullptr)
    return MakeError(Code::kNotFound, fmt::format("user: {}: there is no such user", agent.user));
  return std::vector<std::string>{"setpriv",
                                  "--reuid",
                                  fmt::format("{}", entry.pw_uid),
                                  "--regid",
                                  fmt::format("{}", entry.pw_gid),
                                  "--init-groups",
                                  "--reset-env",
                                  "--no-new-privs",
                                  "--pdeathsig",
                                  "KILL",
                                  "--",
                                  agent.agent};
}

std::string OneLine(std::string text) {
  std::ranges::replace(text, '\n', ' ');
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return Printable(text.substr(0, FenceRuns::kMostText));
}

std::string Without(std::string text, const std::string& secret) {
  if (secret.empty()) return text;
  for (std::size_t at = text.find(secret); at != text.npos; at = text.find(secret, at + 3))
    text.replace(at, secret.size(), "***");
  return text;
}

}  // namespace

class FenceRuns::One {
 public:
  One(EventLoop* loop, Fencing::Done done, std::function<void()> end)
      : loop_(loop), done_(std::move(done)), end_(std::move(end)) {}
  ~One() {
    Unwatch();
    if (child_ && child_->alive()) child_->KillGroup();
  }
  One(const One&) = delete;
  One& operator=(const One&) = delete;

  Status Begin(const FenceAgent& agent, const std::string& action);
  // Tells, once.
  void Finish(FenceOutcome outcome);

 private:
  void Read();
  void OnEnd();
  void Unwatch();

  EventLoop* const loop_;
  Fencing::Done done_;
  const std::function<void()> end_;
  std::string secret_;
  std::string said_;
  UniqueFd out_;
  std::optional<launch::ChildProcess> child_;
  Timer timer_;
};

Status FenceRuns::One::Begin(const FenceAgent& agent, const std::string& action) {
  ASSIGN_OR_RETURN(secret_, ReadSecret(agent.secret_file));
  ASSIGN_OR_RETURN(Pipe in, MakePipe());
  ASSIGN_OR_RETURN(Pipe out, MakePipe());
  const std::string input = FenceInput(agent, action, secret_);
  // Less than a pipe holds (64 KiB), so it is written at once.
  const int flags = fcntl(in.write.get(), F_SETFL, O_NONBLOCK);
  if (flags != 0 ||
      write(in.write.get(), input.data(), input.size()) != static_cast<ssize_t>(input.size()))
    return MakeError(Code::kInternal, "its options do not fit a pipe");
  in.write.Reset();
  UniqueFd err(fcntl(out.write.get(), F_DUPFD_CLOEXEC, 3));
  if (!err) return ErrnoError(errno, "dup");
  launch::ChildFds fds;
  fds.in = std::move(in.read);
  fds.out = std::move(out.write);
  fds.err = std::move(err);
  ASSIGN_OR_RETURN(std::vector<std::string> words, WordsFor(agent));
  auto child = launch::ChildProcess::Spawn(kSetpriv, std::move(words), std::move(fds));
  if (!child) return std::unexpected(std::move(child).error());
  child_.emplace(std::move(*child));
  out_ = std::move(out.read);
  if (fcntl(out_.get(), F_SETFL, O_NONBLOCK) != 0) return ErrnoError(errno, "fcntl");
  RETURN_IF_ERROR(loop_->Watch(out_.get(), EPOLLIN, [this](std::uint32_t) { Read(); }));
  RETURN_IF_ERROR(loop_->Watch(child_->pidfd(), EPOLLIN, [this](std::uint32_t) { OnEnd(); }));
  return timer_.Start(loop_, agent.timeout_seconds * 1000, [this, seconds = agent.timeout_seconds] {
    Finish({false, -1, fmt::format("it did not end within {} s, and was killed", seconds)});
  });
}

// What is beyond what is kept is read all the same, so that it does not block.
void FenceRuns::One::Read() {
  std::array<char, 4096> bytes{};
  const ssize_t n = read(out_.get(), bytes.data(), bytes.size());
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) {
    loop_->Unwatch(out_.get());
    out_.Reset();
    return;
  }
  const std::size_t room = 2 * kMostText - std::min(said_.size(), 2 * kMostText);
  said_.append(bytes.data(), std::min(static_cast<std::size_t>(n), room));
}

void FenceRuns::One::OnEnd() {
  if (out_) Read();
  loop_->Unwatch(child_->pidfd());
  child_->KillGroup();  // what it left behind
  const int status = child_->Reap();
  std::string text = OneLine(Without(said_, secret_));
  if (WIFEXITED(status)) return Finish({true, WEXITSTATUS(status), std::move(text)});
  Finish({false, -1, launch::DescribeEnd(status)});
}

void FenceRuns::One::Finish(FenceOutcome outcome) {
  if (!done_) return;
  loop_->Post(
      [done = std::exchange(done_, nullptr), outcome = std::move(outcome)] { done(outcome); });
  end_();
}

void FenceRuns::One::Unwatch() {
  if (out_) loop_->Unwatch(out_.get());
  if (child_ && child_->alive()) loop_->Unwatch(child_->pidfd());
}

FenceRuns::FenceRuns(EventLoop* loop) : loop_(loop) {}

FenceRuns::~FenceRuns() = default;

void FenceRuns::Run(const FenceAgent& agent, const std::string& action, Fencing::Done done) {
  const std::uint64_t number = ++last_;
  const auto end = [this, number, alive = std::weak_ptr(alive_)] {
    loop_->Post([this, number, alive] {
      if (!alive.expired()) End(number);
    });
  };
  auto run = std::make_unique<One>(loop_, std::move(done), end);
  One& one = *run;
  runs_[number] = std::move(run);
  if (const Status begun = one.Begin(agent, action); !begun)
    one.Finish({false, -1, begun.error().message});
}

void FenceRuns::End(std::uint64_t number) { runs_.erase(number); }

}  // namespace gemel::daemon
